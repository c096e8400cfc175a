"""Rows at the same budget: what the best of equally many configurations comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hype_bench.stats.search import expected_best, expected_best_std
from hype_bench.tables.experiment import Place, Result

BUDGET = "budget"


@dataclass(frozen=True)
class ExpectedBest:
    """The best of ``k`` configurations drawn without replacement from the ``tried`` ones: its expected mean dev score
    and the standard deviation over such draws, as fractions; NaN if none can be given. ``lost``: configurations of
    which a seed diverged or has no finite score; ``missing``: the runs that the cell lacks, in words."""

    k: int
    tried: int
    lost: int
    missing: str = ""
    mean: float = math.nan
    std: float = math.nan


def at_same_budget(results: Mapping[Place, Result]) -> dict[Place, ExpectedBest]:
    """Every cell as if all rows of its block had tried as many configurations: the expected best of k of them.

    k is the smallest number of configurations in the block. A configuration that lost a seed stands below all others,
    as in the choice of the best one. A cell that lacks runs has no number, nor has one in which a draw may consist
    of such configurations alone.
    """
    least: dict[str, int] = {}
    for (block, _, _), result in results.items():
        least[block] = min(least.get(block, len(result.candidates)), len(result.candidates))
    return {place: _expected(result, least[place[0]]) for place, result in results.items()}


def _expected(result: Result, k: int) -> ExpectedBest:
    tried, missing = len(result.candidates), result.cell.missing
    cells = [(candidate.on(result.split), candidate.planned) for candidate in result.candidates]
    means = [cell.mean for cell, planned in cells if cell.finite == planned]
    lost = tried - len(means)
    if missing or lost >= k:
        return ExpectedBest(k, tried, lost, missing)
    return ExpectedBest(k, tried, lost, missing, expected_best(means, k, lost), expected_best_std(means, k, lost))
