"""Two runs, or two rows of an experiment, beside one another, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hype_bench.config import REGRESSION_METRICS
from hype_bench.output import counted
from hype_bench.render.sheet import Pieces, Sheet, p_value
from hype_bench.render.writers import to_text
from hype_bench.runs.record import Record
from hype_bench.runs.status import RunStatus
from hype_bench.tables.two_rows import OnTask
from hype_bench.tables.two_runs import Changes, both_scores, changes, differing_settings

_SHOWN = 20  # examples
_MCNEMAR = "p: McNemar's exact test, about these two runs on other examples, not about other seeds"

_BY_SEED = (
    "p: McNemar's exact test of the two runs of a seed, not adjusted; whether a technique helps is what hype-bench "
    "answer says"
)


def two_runs_text(a: tuple[RunStatus, Record], b: tuple[RunStatus, Record]) -> str:
    """Settings, scores, and the examples of each split that the two predict differently.

    Raises:
        UserError: the two are of different tasks, or their predictions cannot be compared.
    """
    settings = [(name, [_word(first), _word(second)]) for name, first, second in differing_settings(a[1], b[1])]
    scores = [
        (name, [_word(f"{100 * first:.2f}"), _word(f"{100 * second:.2f}"), _word(f"{100 * (first - second):+z.2f}")])
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


def two_rows_text(a: str, b: str, tasks: Sequence[OnTask], left_out: Sequence[str]) -> str:
    """Settings, scores by seed, and the examples that one is right about on more seeds than the other, for each task.

    Args:
        a, b: the titles of the rows.
        left_out: where not all of their runs are done.
    """
    without = f"without {', '.join(left_out)}: not all runs of both are done" if left_out else ""
    return to_text([sheet for on in tasks for sheet in _of_task(a, b, on)], without)


def _of_task(a: str, b: str, on: OnTask) -> Iterator[Sheet]:
    titles, where = [(a, ""), (b, "")], f"{on.block} {on.task}"
    settings = [(name, [_word(first), _word(second)]) for name, first, second in on.settings]
    yield Sheet(f"{where}: settings", titles, settings, [] if settings else ["set alike"], "", "in which they differ")
    yield _seeds_sheet(f"{where}: scores", titles, on)
    n = len(on.changes)
    lines = [
        (str(index), [_named(label, on.classes), _word(str(first)), _word(str(second))])
        for index, label, first, second in on.examples[:_SHOWN]
    ]
    if lines:
        more, less = (sum((x > y) == up for *_, x, y in on.examples) for up in (True, False))
        notes = [f"examples on which {a} is right on more seeds than {b}: {more}; on fewer: {less}"]
        notes += [f"the {_SHOWN} that differ most are shown"] * (len(on.examples) > _SHOWN)
        columns = [("label", ""), *((title, f"right, of {counted(n, 'seed')}") for title in (a, b))]
        yield Sheet(f"{where}: changed examples", columns, lines, notes, "", "index in predictions.csv")


def _seeds_sheet(title: str, titles: list[tuple[str, str]], on: OnTask) -> Sheet:
    columns = [*titles, ("difference", "points")]
    if on.changes:
        columns += [("changed", "examples"), *((f"{name} alone", "right") for name, _ in titles), ("p", "McNemar")]
    rows = []
    for seed, (first, second) in on.scores.items():
        cells = [f"{100 * first:.2f}", f"{100 * second:.2f}", f"{100 * (first - second):+z.2f}"]
        if change := on.changes.get(seed):
            counts = f"{len(change.changed)} of {change.examples}", str(change.only_a), str(change.only_b)
            cells += [*counts, p_value(change.p)]
        rows.append((f"seed {seed}", list(map(_word, [*cells, *[""] * (len(columns) - len(cells))]))))
    means = [100 * sum(scores) / len(rows) for scores in zip(*on.scores.values(), strict=True)]
    cells = [*(f"{mean:.2f}" for mean in means), f"{means[0] - means[1]:+z.2f}"]
    rows.append(("mean", list(map(_word, [*cells, *[""] * (len(columns) - 3)]))))
    return Sheet(title, columns, rows, [*on.notes, *[_BY_SEED] * bool(on.changes)], "", on.metric)


def _named(value: float, classes: Sequence[str]) -> Pieces:
    return _word(classes[int(value)] if int(value) < len(classes) else f"{value:g}")


def _changes_sheet(split: str, of_split: Changes, classes: Sequence[str], titles: list[tuple[str, str]]) -> Sheet:
    lines = [(str(index), [_named(value, classes) for value in values]) for index, *values in of_split.changed[:_SHOWN]]
    more = f"; the first {_SHOWN} are shown" if len(of_split.changed) > _SHOWN else ""
    changed = f"{len(of_split.changed)} of {counted(of_split.examples, 'example')} predicted differently{more}"
    right = f"right alone: {of_split.only_a} and {of_split.only_b}; p {p_value(of_split.p)}"
    columns = [("label", ""), *titles]
    title = f"changed examples{f' of {split}' if split else ''}"
    return Sheet(title, columns, lines, [changed, right, _MCNEMAR], "", "index in predictions.csv")


def _word(text: str) -> Pieces:
    return text, "", ""
