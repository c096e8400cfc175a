"""Rows over all tasks: which tasks and runs count, and what stands in the sheets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hype_bench.render.comparisons import compare
from hype_bench.render.over_tasks import over_tasks_sheets
from hype_bench.runs.status import RUNNING, RunStatus
from hype_bench.stats.crossed import difference_over_seeds
from hype_bench.stats.over_tasks import mean_improvement, mean_over_tasks
from hype_bench.stats.paired import paired_difference
from hype_bench.stats.sequential import decide
from hype_bench.stats.verdict import verdicts
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.cells import Row
from hype_bench.tables.compare import Compared, Measured, pairs_with
from hype_bench.tables.experiment import results
from hype_bench.tables.over_tasks import OverTasks, over_tasks, rankings
from hype_bench.tables.pairing import comparable
from tests.tables.test_experiment import done, plan_of, planned

TASKS = ("rte", "mrpc", "cola")
RNG = np.random.default_rng(0)
SCORES = {
    method: {task: (0.6 + gain + 0.02 * RNG.normal(size=4)).tolist() for task in TASKS}
    for method, gain in (("vanilla", 0.0), ("hype_n", 0.1), ("mixout", 0.0))
}


def experiment(scores=SCORES) -> tuple[Plan, dict[str, RunStatus]]:
    runs = [
        planned(method, task, seed)
        for method, of_method in scores.items()
        for task, of_task in of_method.items()
        for seed in range(len(of_task))
    ]
    return plan_of(runs), {run.identity: done(run, scores[run.method][run.task][run.seed]) for run in runs}


def against_vanilla(plan: Plan, statuses: dict[str, RunStatus]) -> dict[tuple[str, Row], OverTasks]:
    """Single tasks are judged over the seeds alone: there are no predictions."""
    cells = results(plan, statuses, "paper")
    compared = {}
    for place, result, base in pairs_with(cells, "vanilla"):
        seeds, _ = comparable(result.shown, base.shown)
        differences = difference_over_seeds([result.cell.scores[seed] - base.cell.scores[seed] for seed in seeds])
        measured = Measured(np.array([]), paired_difference({}, {}), differences, [], [])
        compared[place] = Compared(measured, verdicts([differences])[0], decide([]), 1.0, 1)
    return over_tasks(cells, "vanilla", compared)


def test_against_a_row_over_all_tasks() -> None:
    plan, statuses = experiment()
    compared = against_vanilla(plan, statuses)
    assert [row.method for _, row in compared] == ["hype_n", "mixout"]
    hype = next(iter(compared.values()))
    pairs = [(SCORES["hype_n"][task], SCORES["vanilla"][task]) for task in TASKS]
    assert hype.tasks == list(TASKS)
    assert hype.difference == mean_over_tasks([np.subtract(a, b) for a, b in pairs])
    assert hype.improvement == mean_improvement(pairs)
    assert (hype.better, hype.won) == (3, 3)


def test_only_tasks_with_pairs_count_and_one_task_is_no_mean_over_tasks() -> None:
    plan, statuses = experiment({**SCORES, "mixout": {"rte": SCORES["mixout"]["rte"]}})
    for run in plan.runs:
        if (run.method, run.task) == ("hype_n", "cola"):
            statuses[run.identity] = replace(statuses[run.identity], state=RUNNING, record=None)
    (hype,) = against_vanilla(plan, statuses).values()
    assert hype.tasks == ["rte", "mrpc"]


def test_letter_by_letter() -> None:
    """Errors 1.53 / sqrt 3 and 2 / sqrt 3 over two tasks: 2.85 of 0.73, with 3.74 degrees of freedom."""
    scores = {
        "vanilla": {"rte": [0.6, 0.62, 0.64], "mrpc": [0.7, 0.72, 0.77]},
        "hype_n": {"rte": [0.7, 0.75, 0.76], "mrpc": [0.72, 0.7, 0.77]},
    }
    plan, statuses = experiment(scores)
    (sheet,) = over_tasks_sheets(against_vanilla(plan, statuses), "vanilla")
    assert sheet.plain() == [
        ["hype_n, 2 tasks", "+5.83 [+3.76, +7.91]", "0.75 [0.34, 1.00]", "1.5 of 2 (1)"],
    ]


def test_by_ranks() -> None:
    plan, statuses = experiment({**SCORES, "reinit": {"rte": [0.9]}})
    cells = results(plan, statuses, "paper")
    (ranking,) = rankings(cells).values()
    assert next(iter(ranking.rows)).method == "hype_n"
    assert ranking.left_out == ["reinit"]
    comparison = compare(plan, cells, "ranks")
    (sheet,) = comparison.sheets
    assert sheet.plain()[0][1] == "1.00"
    assert "left out, without a number on every task: reinit" in sheet.notes
    numbers = {place[1].method: columns for place, columns in comparison.columns.items()}
    assert numbers["hype_n"]["mean_rank"] == 1
    assert numbers["vanilla"]["critical_difference"] == pytest.approx(2.343 * (3 * 4 / (6 * 3)) ** 0.5, abs=1e-3)


def test_there_are_no_ranks_on_one_task() -> None:
    plan, statuses = experiment({method: {"rte": of_method["rte"]} for method, of_method in SCORES.items()})
    assert compare(plan, results(plan, statuses, "paper"), "ranks").sheets == []
