"""Rows that nothing tells apart say so, and a row without training stands beside those with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hype_bench.render.text import write
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.experiment import experiment_tables, results
from hype_bench.tables.majority import MAJORITY, with_majority
from hype_bench.tables.table import build_tables
from hype_bench.tasks.metrics import score
from tests.tables.test_experiment import METRIC, done, plan_of, planned, write_predictions

LABELS = np.array([1] * 6 + [0] * 4)
FIRST, LAST = (LABELS ^ (np.arange(10) == wrong) for wrong in (0, 5))  # each is wrong about another example
ALIKE = "the same predictions with every seed: "


def experiment(folder: Path, rows: dict[str, dict[str, list[np.ndarray]]]) -> tuple[Plan, dict[str, RunStatus]]:
    """``rows``: method -> task -> the predictions of each seed."""
    runs, statuses = [], {}
    for method, of_row in rows.items():
        for task, of_task in of_row.items():
            for seed, predictions in enumerate(of_task):
                run = planned(method, task, seed)
                write_predictions(folder / run.identity, {"validation": (LABELS, predictions)})
                value = score(METRIC[task], LABELS, predictions)[METRIC[task]]
                runs.append(run)
                statuses[run.identity] = replace(done(run, value), runs=folder)
    return plan_of(runs), statuses


def notes(plan: Plan, statuses: dict[str, RunStatus]) -> list[str]:
    (table,) = experiment_tables(plan, results(plan, statuses, "paper"))
    same = [note.text for note in table.notes if note.text.startswith(ALIKE)]
    (of_folder,) = build_tables(statuses.values())
    assert same == [note.text for note in of_folder.notes if note.text.startswith(ALIKE)]
    return [text.removeprefix(ALIKE) for text in same]


def test_rows_with_the_same_predictions_are_named(tmp_path: Path) -> None:
    rows = {"vanilla": [FIRST, LAST], "no_dropout": [LAST, LAST], "hype_n": [LAST, LAST]}  # of equal scores all three
    plan, statuses = experiment(tmp_path, {name: {"rte": of_row, "mrpc": of_row} for name, of_row in rows.items()})
    assert notes(plan, statuses) == ["no_dropout, hype_n on mrpc, rte"]
    (tmp_path / plan.runs[-1].identity / "predictions.csv").unlink()
    assert notes(plan, statuses) == ["no_dropout, hype_n on rte"]


@pytest.mark.parametrize("runs", [[LAST, FIRST], [LAST], [1 - 0 * LABELS] * 2])
def test_other_seeds_and_collapsed_runs_are_not(runs: list[np.ndarray], tmp_path: Path) -> None:
    other = runs if runs[0].all() else [LAST, LAST]
    assert notes(*experiment(tmp_path, {"vanilla": {"rte": runs}, "hype_n": {"rte": other}})) == []


def test_the_most_frequent_class_is_a_row_without_runs(tmp_path: Path) -> None:
    plan, statuses = experiment(tmp_path, {"vanilla": {"rte": [LAST] * 3, "mrpc": [LAST] * 3}})
    by_place = results(plan, statuses, "paper")
    tables = with_majority(experiment_tables(plan, by_place), by_place)
    cells = tables[0].rows[MAJORITY]
    assert [cell.mean for cell in cells.values()] == pytest.approx([0.6, 0.75, 0.675])  # F1 of recall 1, precision 0.6
    (line,) = (line for line in write(tables).splitlines() if line.startswith("majority class"))
    assert line.split()[2:] == ["60.00", "75.00", "67.50"]
    (row, *_) = (row for row in write(tables, "csv").splitlines() if ",majority class," in row)
    assert row.startswith("bert_large,rte,majority class,,,accuracy,,0.6,,,,,,,")


def test_correlations_have_no_most_frequent_class(tmp_path: Path) -> None:
    plan, statuses = experiment(tmp_path, {"vanilla": {"rte": [LAST]}})
    plan = plan_of([replace(run, metric="pearson") for run in plan.runs])
    by_place = results(plan, statuses, "paper")
    assert with_majority(experiment_tables(plan, by_place), by_place)[0].rows[MAJORITY] == {}
