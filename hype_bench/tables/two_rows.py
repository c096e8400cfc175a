"""Two rows of an experiment beside one another, task by task and seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from hype_bench.schema import REGRESSION_METRICS
from hype_bench.stats.means import Floats
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.pairing import comparable
from hype_bench.tables.predictions import read_predictions
from hype_bench.tables.two_runs import Changes, changes_between, differing_settings

_Predicted = tuple[Floats, Floats, Floats]  # labels, predictions of a and of b


@dataclass(frozen=True)
class OnTask:
    """Rows a and b on one task of a block.

    ``settings``: name and both values, of one seed; ``scores``: seed -> both scores; ``changes``: seed -> what the two
    runs predict differently, without seeds whose files are at fault, and empty for the metrics of a regression;
    ``examples``: index, label, and on how many of these seeds a and b are right about it, of those on which that
    differs, most different first; ``notes``: which seeds make no pair, and why; ``complaints``: about damaged files.
    """

    block: str
    task: str
    metric: str
    classes: Sequence[str]
    settings: list[tuple[str, str, str]]
    scores: dict[int, tuple[float, float]]
    changes: dict[int, Changes]
    examples: list[tuple[int, float, int, int]]
    notes: list[str]
    complaints: list[str]


def two_rows(plan: Plan, results: Mapping[Place, Result], a: str, b: str) -> tuple[list[OnTask], list[str]]:
    """The rows of these titles wherever both are done with a seed in common; and the blocks and tasks where not.

    Raises:
        UserError: no row has such a title, or they have no seed in common anywhere.
    """
    titles = list(dict.fromkeys(row.title for _, row, _ in results))
    for title in (a, b):
        if title not in titles:
            raise UserError(f"{plan.key} has no row {title!r}; there are {', '.join(titles)}")
    if a == b:
        raise UserError(f"{a} and {b} are the same row")
    of_a, of_b = ({place[::2]: result for place, result in results.items() if place[1].title == t} for t in (a, b))
    both = {place: list(_on_task(*place, of_a[place], of_b[place])) for place in of_a if place in of_b}
    compared = [on for of_place in both.values() for on in of_place]
    if not compared:
        raise UserError(f"{a} and {b} have no finished runs of the same seed in {plan.key}: {plan.command}")
    return compared, [" ".join(place) for place, of_place in both.items() if not of_place]


def _on_task(block: str, task: str, a: Result, b: Result) -> Iterator[OnTask]:
    """Nothing if no seeds make a pair."""
    seeds, notes = comparable(a.shown, b.shown)
    if not seeds:
        return
    first, second = (_record(side, seeds[0]) for side in (a, b))
    predictions, complaints = _predictions(a, b, seeds)
    yield OnTask(
        *(block, task, a.cell.metric, first.classes),
        settings=list(differing_settings(first, second)),
        scores={seed: (a.cell.scores[seed], b.cell.scores[seed]) for seed in seeds},
        changes={seed: changes_between(*of_seed) for seed, of_seed in predictions.items()},
        examples=_examples(list(predictions.values())),
        notes=notes,
        complaints=complaints,
    )


def _record(side: Result, seed: int) -> Record:
    record = RunFolder(Path(side.shown.path[seed])).result()
    if record is None:
        raise UserError(f"{side.shown.path[seed]} has lost its record")
    return record


def _predictions(a: Result, b: Result, seeds: Sequence[int]) -> tuple[dict[int, _Predicted], list[str]]:
    """Seed -> what is predicted for the same examples; and what is wrong with files that do not tell."""
    predictions: dict[int, _Predicted] = {}
    complaints = []
    for seed in seeds if a.cell.metric not in REGRESSION_METRICS else ():
        try:
            (labels, of_a), (others, of_b) = (
                read_predictions(Path(side.shown.path[seed]), side.split, side.cell.metric, side.cell.scores[seed])
                for side in (a, b)
            )
        except UserError as error:
            complaints.append(str(error))
            continue
        if np.array_equal(labels, others):
            predictions[seed] = labels, of_a, of_b
    return predictions, complaints


def _examples(predictions: Sequence[_Predicted]) -> list[tuple[int, float, int, int]]:
    """As in :class:`OnTask`; none if every seed has examples of its own."""
    if not predictions or not all(np.array_equal(predictions[0][0], labels) for labels, *_ in predictions):
        return []
    labels = predictions[0][0]
    a, b = (sum((each[side] == labels).astype(int) for each in predictions) for side in (1, 2))
    order = sorted(np.flatnonzero(a != b).tolist(), key=lambda n: -abs(int(a[n] - b[n])))
    return [(n, float(labels[n]), int(a[n]), int(b[n])) for n in order]
