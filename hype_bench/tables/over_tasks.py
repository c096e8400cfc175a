"""Rows over all tasks of a table: against one of them, and by their ranks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hype_bench.stats.crossed import Crossed
from hype_bench.stats.means import Difference
from hype_bench.stats.over_tasks import mean_improvement, mean_over_tasks, tasks_won
from hype_bench.stats.ranks import critical_difference, friedman_p, mean_ranks
from hype_bench.tables.cells import INFERENCE_FROM, Cell, Row
from hype_bench.tables.compare import Compared, pairs_with
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.pairing import comparable
from hype_bench.tables.table import is_further

RANKS = "ranks"

_Sides = tuple[list[float], list[float]]  # the scores of a row and of the baseline, in order of their common seeds


@dataclass(frozen=True)
class OverTasks:
    """A row against the baseline over the ``tasks`` on which both have pairs of runs, each by its first split.

    ``difference``: mean over tasks of the mean paired difference, as a fraction; ``improvement``: mean probability that
    a run here is better than one there; ``better``: on how many tasks the mean is higher, ties half; ``won``: on how
    many it is so at the least, with 95 % certainty.
    """

    tasks: list[str]
    difference: Difference
    improvement: Difference
    better: float
    won: int


def over_tasks(
    results: Mapping[Place, Result], baseline: str, compared: Mapping[Place, Compared]
) -> dict[tuple[str, Row], OverTasks]:
    """Every row of a block with several tasks against the baseline's; only pairs of runs count, of equal seeds.

    Args:
        compared: the same on single tasks, which says on how many the row wins.
    """
    scores: dict[tuple[str, Row], dict[str, _Sides]] = defaultdict(dict)
    p_better: dict[tuple[str, Row], list[float]] = defaultdict(list)
    for (block, row, task), result, base in pairs_with(results, baseline):
        seeds, _ = comparable(result.shown, base.shown)
        if seeds and not is_further(task) and result.cell.is_fraction:  # other units have no mean over tasks
            scores[block, row][task] = _scores(result, seeds), _scores(base, seeds)
            p_better[block, row].append(_p_better(compared[block, row, task].measured.difference))
    return {place: _over_tasks(of_row, p_better[place]) for place, of_row in scores.items() if len(of_row) > 1}


def _scores(result: Result, seeds: list[int]) -> list[float]:
    return [result.cell.scores[seed] for seed in seeds]


def _over_tasks(scores: Mapping[str, _Sides], p_better: list[float]) -> OverTasks:
    differences = [np.subtract(a, b) for a, b in scores.values()]
    means = mean_over_tasks(differences), mean_improvement(list(scores.values()))
    if min(map(len, differences)) < INFERENCE_FROM:
        means = means[0].untested, means[1].untested
    return OverTasks(
        list(scores),
        *means,
        sum((each.mean() > 0) + (each.mean() == 0) / 2 for each in differences),
        tasks_won(p_better),
    )


def _p_better(difference: Crossed) -> float:
    """One-sided, that the row is not better; 1 where there is no test."""
    p = difference.p_above(difference.mean)
    return 1.0 if math.isnan(p) else p


@dataclass(frozen=True)
class Ranking:
    """The rows of a block by their mean rank over the tasks, each by its first split.

    ``rows``: those with a number on every task, the best first, with their mean rank and the cells of the tasks;
    ``left_out``: titles of the others; ``p``: that all are alike (Friedman); ``critical``: mean ranks that differ by
    less are not told apart (Nemenyi, 0.05).
    """

    tasks: list[str]
    rows: dict[Row, tuple[float, list[Cell]]]
    left_out: list[str]
    p: float
    critical: float


def rankings(results: Mapping[Place, Result]) -> dict[str, Ranking]:
    """Of every block with two tasks or more."""
    blocks: dict[str, dict[Row, dict[str, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for (block, row, task), result in results.items():
        if not is_further(task):
            blocks[block][row][task] = result.cell
    return {block: ranking for block, rows in blocks.items() if (ranking := _ranking(rows)) is not None}


def _ranking(rows: Mapping[Row, Mapping[str, Cell]]) -> Ranking | None:
    tasks = list(dict.fromkeys(task for cells in rows.values() for task in cells))
    whole = {
        row: [cells[task] for task in tasks]
        for row, cells in rows.items()
        if all(task in cells and cells[task].n and not cells[task].lacks for task in tasks)
    }
    if len(tasks) < 2 or len(whole) < 2:
        return None
    means = [[cells[n].mean for cells in whole.values()] for n in range(len(tasks))]
    ranked = sorted(zip(mean_ranks(means).tolist(), whole, strict=True), key=lambda ranked: ranked[0])
    return Ranking(
        tasks,
        {row: (rank, whole[row]) for rank, row in ranked},
        [row.title for row in rows if row not in whole],
        friedman_p(means),
        critical_difference(len(whole), len(tasks)),
    )
