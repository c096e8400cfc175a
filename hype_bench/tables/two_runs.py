"""Two runs beside one another: in what they were set differently, what they score, and which examples they change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from hype_bench.runs.status import RunStatus, folder_names, read_run
from hype_bench.stats.mcnemar import mcnemar_p
from hype_bench.stats.means import Floats
from hype_bench.tables.predictions import read_predictions
from hype_bench.tables.rows import flat_settings


@dataclass(frozen=True)
class Changes:
    """What two runs predict for the examples of a split.

    ``changed``: index of the example, label, prediction of a and of b, where these differ; ``only_a``, ``only_b``:
    examples on which one alone is right.
    """

    examples: int
    changed: list[tuple[int, float, float, float]]
    only_a: int
    only_b: int

    @property
    def p(self) -> float:
        """McNemar's, that both are right equally often."""
        return mcnemar_p(self.only_a, self.only_b)


def find_run(results_dir: Path, name: str, or_else: str = "") -> tuple[RunStatus, Record]:
    """The run with that identity, or the only one whose identity begins so.

    Args:
        or_else: what else the user may have meant, for the complaint that there is none.

    Raises:
        UserError: there is none, or several, or it has no record.
    """
    names = [folder for folder in folder_names(results_dir) if folder.startswith(name)] if name else []
    if name in names:
        names = [name]
    if len(names) != 1:
        several = f"begins {len(names)} of them: {', '.join(names[:5])}" if names else "names none of them"
        ways = f"a run is named by its folder in {results_dir / 'runs'}, or how it begins"
        raise UserError(f"{name!r} {several}; {ways}{or_else}")
    status = read_run(RunFolder(results_dir / "runs" / names[0]))
    if status.record is None:
        raise UserError(f"run {names[0]} is {status.state} and has no record")
    return status, status.record


def differing_settings(a: Record, b: Record) -> Iterator[tuple[str, str, str]]:
    """Name and both values of what can change the numbers; ``-`` where one does not have it."""
    first, second = ({**flat_settings(each), "seed": str(each.label.seed), "device": each.device} for each in (a, b))
    for name in dict.fromkeys([*first, *second]):
        values = first.get(name, "-"), second.get(name, "-")
        if values[0] != values[1]:
            yield name, *values


def both_scores(a: Record, b: Record) -> Iterator[tuple[str, float, float]]:
    """Split and metric, and both scores, of what both were scored on; the first split has no name."""
    first, second = a.scores.to_json(), b.scores.to_json()
    yield from ((name, first[name], second[name]) for name in first if name in second)


def changes(a: tuple[RunStatus, Record], b: tuple[RunStatus, Record], split: str) -> Changes:
    """Of one split; without its name, of the first.

    Raises:
        UserError: predictions that cannot be read, or of other examples.
    """
    (labels, of_a), (others, of_b) = (_predictions(*run, split) for run in (a, b))
    if not np.array_equal(labels, others):
        raise UserError("the two runs were not scored on the same examples")
    return changes_between(labels, of_a, of_b)


def changes_between(labels: Floats, of_a: Floats, of_b: Floats) -> Changes:
    """Of the predictions for the same examples."""
    which = np.flatnonzero(of_a != of_b)
    changed = list(zip(which.tolist(), *(values[which].tolist() for values in (labels, of_a, of_b)), strict=True))
    right_a, right_b = of_a == labels, of_b == labels
    return Changes(len(labels), changed, int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum()))


def _predictions(status: RunStatus, record: Record, split: str) -> tuple[Floats, Floats]:
    score = record.scores.get(record.label.metric, split)
    if score is None:
        raise UserError(f"run {status.identity} has no {record.label.metric}")
    return read_predictions(status.path, split, record.label.metric, score)
