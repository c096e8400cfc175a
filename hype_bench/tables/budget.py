"""Rows at the same budget: what the best of equally many configurations comes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hype_bench.stats.means import Difference
from hype_bench.stats.search import Search, difference_of_searches, expected_best, expected_best_std
from hype_bench.tables.cells import INFERENCE_FROM, Cell
from hype_bench.tables.experiment import Place, Result

BUDGET = "budget"

_NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class ExpectedBest:
    """The best of ``k`` configurations drawn without replacement from the ``tried`` ones: its expected mean dev score
    and the standard deviation over such draws, as fractions; NaN if none can be given. ``curve``: the expected best of
    1, 2, ... ``tried``. ``lost``: configurations of which a seed diverged or has no finite score; ``missing``: the runs
    that the cell lacks, in words."""

    k: int
    tried: int
    lost: int
    missing: str = ""
    mean: float = math.nan
    std: float = math.nan
    curve: tuple[float, ...] = ()


def at_same_budget(results: Mapping[Place, Result]) -> dict[Place, ExpectedBest]:
    """Every cell as if all rows of its block had tried as many configurations: the expected best of k of them.

    k is the smallest number of configurations in the block. A configuration that lost a seed counts as the worst score
    of any run of its search. A cell that lacks runs has no number, nor has one without any score.
    """
    least: dict[str, int] = {}
    for (block, _, _), result in results.items():
        least[block] = min(least.get(block, len(result.candidates)), len(result.candidates))
    return {place: _expected(result, least[place[0]]) for place, result in results.items()}


def _expected(result: Result, k: int) -> ExpectedBest:
    tried, missing = len(result.candidates), result.cell.missing
    cells = [candidate.on(result.split) for candidate in result.candidates]
    whole = [cell.finite == candidate.planned for cell, candidate in zip(cells, result.candidates, strict=True)]
    lost = tried - sum(whole)
    if missing or lost == tried:
        return ExpectedBest(k, tried, lost, missing)
    worst = _worst(cells)
    scores = [cell.mean if is_whole else worst for cell, is_whole in zip(cells, whole, strict=True)]
    curve = tuple(expected_best(scores, n) for n in range(1, tried + 1))
    return ExpectedBest(k, tried, lost, missing, curve[k - 1], expected_best_std(scores, k), curve)


def _worst(cells: list[Cell]) -> float:
    """The least finite score of any run; NaN without one."""
    return min((score for cell in cells for score in cell.scores.values() if math.isfinite(score)), default=math.nan)


@dataclass(frozen=True)
class EqualSearch:
    """A row against the baseline as if both had searched over ``k`` configurations, the number of the side with fewer.

    ``tried``: how many the row and the baseline have; ``difference``: of fractions, NaN where there is none;
    ``as_much``: other rows of the baseline's method that tried as many as this row.
    """

    k: int
    tried: tuple[int, int]
    difference: Difference
    as_much: tuple[str, ...] = ()


def at_equal_search(results: Mapping[Place, Result], baseline: str) -> dict[Place, EqualSearch]:
    """The rows that searched over more or fewer configurations than the baseline's; none if nothing is chosen."""
    bases = {(block, column): result for (block, row, column), result in results.items() if row.title == baseline}
    searches = {}
    for (block, row, column), result in results.items():
        base = bases.get((block, column))
        if base is None or result.rule == "default" or len(result.candidates) == len(base.candidates):
            continue
        alike = (title for title, other in _beside(results, block, column) if _as_much(other, result, base))
        searches[block, row, column] = replace(_equal_search(result, base), as_much=tuple(alike))
    return searches


def _beside(results: Mapping[Place, Result], block: str, column: str) -> Iterator[tuple[str, Result]]:
    """The rows of a column."""
    return ((row.title, other) for (in_block, row, of), other in results.items() if (in_block, of) == (block, column))


def _as_much(other: Result, result: Result, base: Result) -> bool:
    """Whether a row of the baseline's method searched as much as ``result``."""
    methods = {side.planned[0].method for side in (other, base)}
    return other is not result and len(methods) == 1 and len(other.candidates) == len(result.candidates)


def _equal_search(result: Result, base: Result) -> EqualSearch:
    tried = (len(result.candidates), len(base.candidates))
    seeds = sorted(_seeds(result) & _seeds(base))
    if result.cell.missing or base.cell.missing or not seeds:
        return EqualSearch(min(tried), tried, _NO_DIFFERENCE)
    a, b = (_search(side, seeds) for side in (result, base))
    difference = difference_of_searches(a, b, min(tried))
    return EqualSearch(min(tried), tried, difference.untested if len(seeds) < INFERENCE_FROM else difference)


def _seeds(result: Result) -> set[int]:
    """Those with which some configuration has a finite score."""
    cells = [candidate.on(result.split) for candidate in result.candidates]
    return {seed for cell in cells for seed, score in cell.scores.items() if math.isfinite(score)}


def _search(result: Result, seeds: list[int]) -> tuple[Search, Search]:
    """Of every configuration the scores by which the rule chooses and those that it reports."""
    chosen_by = [each.heldout if result.rule == "heldout" else each.reported for each in result.candidates]
    return _matrix(chosen_by, seeds), _matrix([each.on(result.split) for each in result.candidates], seeds)


def _matrix(cells: list[Cell], seeds: list[int]) -> Search:
    """A score that is lost counts as the worst of the search."""
    scores = np.array([[cell.scores.get(seed, math.nan) for seed in seeds] for cell in cells])
    return np.where(np.isfinite(scores), scores, _worst(cells))
