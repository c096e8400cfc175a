"""Which tasks can tell the rows of a table apart at all."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hype_bench.stats.signal import (
    NOT_COMPUTABLE,
    Separation,
    one_seed_decides,
    paired_separation,
    relative_noise,
    relative_signal,
    separation,
)
from hype_bench.tables.cells import INFERENCE_FROM, Cell
from hype_bench.tables.experiment import Place, Result

SIGNAL = "signal"
LEVEL = 0.05  # of the test that calls a task separating


@dataclass(frozen=True)
class TaskSignal:
    """A column of a block: what separates its rows.

    ``rows``: how many have a whole cell; ``seeds``: those that all of them have; ``unpaired``: over all seeds of each
    row; ``paired``: over the common ones; ``without_collapsed``: unpaired, over the runs that have not collapsed;
    ``released``: the ratio as Heineman et al. define it, with the mean of the rows' relative noise; ``one_seed``: how
    often one seed orders two rows as the others do. NaN where there is none.
    """

    rows: int
    seeds: int
    unpaired: Separation
    paired: Separation
    without_collapsed: Separation
    released: float
    one_seed: float

    @property
    def p(self) -> float:
        """How often equal rows would lie as far apart, from seeds in common if there are several; NaN with few."""
        separation = self.unpaired if math.isnan(self.paired.signal) else self.paired
        return separation.p if separation.seeds >= INFERENCE_FROM else math.nan

    @property
    def separates(self) -> bool | None:
        """Whether the rows lie further apart than luck explains; None if that cannot be computed."""
        return None if math.isnan(self.p) else self.p < LEVEL


def signals(results: Mapping[Place, Result]) -> dict[tuple[str, str], TaskSignal]:
    """Block and column -> what separates the rows there. A cell that lacks runs, or has a score that is NaN, is left
    out."""
    cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for (block, _, column), result in results.items():
        cells[block, column].append(result.cell)
    return {place: _signal(of_column) for place, of_column in cells.items()}


def _signal(cells: Sequence[Cell]) -> TaskSignal:
    cells = [cell for cell in cells if cell.n and not cell.lacks]
    whole = [cell.scores for cell in cells]
    common = sorted(set.intersection(*map(set, whole))) if whole else []
    aligned = [[scores[seed] for seed in common] for scores in whole]
    every = [list(scores.values()) for scores in whole]
    can_pair = len(whole) > 1 and len(common) > 1
    return TaskSignal(
        len(whole),
        len(common),
        separation(every),
        paired_separation(aligned) if can_pair else NOT_COMPUTABLE,
        separation(scores for cell in cells if (scores := _learnt(cell))),
        _released(every),
        one_seed_decides(aligned) if can_pair else math.nan,
    )


def _learnt(cell: Cell) -> list[float]:
    """Its scores without those of collapsed runs."""
    return [score for seed, score in cell.scores.items() if seed not in cell.collapsed]


def _released(scores: Sequence[Sequence[float]]) -> float:
    """NaN where a mean or the noise is 0."""
    means = [math.fsum(values) / len(values) for values in scores]
    if len(scores) < 2 or not all(means) or not math.fsum(means):
        return math.nan
    noise = math.fsum(map(relative_noise, scores)) / len(scores)
    return relative_signal(means) / noise if noise else math.nan
