"""Two runs beside one another, in words."""

from __future__ import annotations

from collections.abc import Sequence

from hype_bench.config import REGRESSION_METRICS
from hype_bench.output import counted
from hype_bench.render.sheet import Pieces, Sheet, p_value
from hype_bench.render.writers import to_text
from hype_bench.runs.record import Record
from hype_bench.runs.status import RunStatus
from hype_bench.tables.two_runs import Changes, both_scores, changes, differing_settings

_SHOWN = 20  # examples
_MCNEMAR = "p: McNemar's exact test, about these two runs on other examples, not about other seeds"


def two_runs_text(a: tuple[RunStatus, Record], b: tuple[RunStatus, Record]) -> str:
    """Settings, scores, and the examples of each split that the two predict differently.

    Raises:
        UserError: the two are of different tasks, or their predictions cannot be compared.
    """
    settings = [(name, [_word(first), _word(second)]) for name, first, second in differing_settings(a[1], b[1])]
    scores = [
        (name, [_word(f"{100 * first:.2f}"), _word(f"{100 * second:.2f}"), _word(f"{100 * (first - second):+.2f}")])
        for name, first, second in both_scores(a[1], b[1])
    ]
    titles = [(each[0].identity, each[1].label.title) for each in (a, b)]
    sheets = [
        Sheet("settings", titles, settings, [] if settings else ["set alike"], "", "in which they differ"),
        Sheet("scores", [*titles, ("difference", "points")], scores, [], "", "metric"),
    ]
    if a[1].label.metric not in REGRESSION_METRICS:
        splits = ["", *(split for split in a[1].scores.further if split in b[1].scores.further)]
        sheets += [_changes_sheet(split, changes(a, b, split), a[1].classes, titles) for split in splits]
    return to_text(sheets, "")


def _changes_sheet(split: str, of_split: Changes, classes: Sequence[str], titles: list[tuple[str, str]]) -> Sheet:
    def name(value: float) -> Pieces:
        return _word(classes[int(value)] if int(value) < len(classes) else f"{value:g}")

    lines = [(str(index), [name(value) for value in values]) for index, *values in of_split.changed[:_SHOWN]]
    more = f"; the first {_SHOWN} are shown" if len(of_split.changed) > _SHOWN else ""
    changed = f"{len(of_split.changed)} of {counted(of_split.examples, 'example')} predicted differently{more}"
    right = f"right alone: {of_split.only_a} and {of_split.only_b}; p {p_value(of_split.p)}"
    columns = [("label", ""), *titles]
    title = f"changed examples{f' of {split}' if split else ''}"
    return Sheet(title, columns, lines, [changed, right, _MCNEMAR], "", "index in predictions.csv")


def _word(text: str) -> Pieces:
    return text, "", ""
