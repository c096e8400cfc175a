"""Runs that always give one class are counted beside the mean, on every split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hype_bench.render.comparisons import compare
from hype_bench.render.text import write
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.experiment import experiment_tables, results
from hype_bench.tables.signal import signals
from hype_bench.tables.table import build_tables
from hype_bench.tasks.metrics import score
from tests.tables.test_experiment import done, plan_of, planned, write_predictions

LABELS = np.array([1] * 6 + [0] * 4)
LEARNT, ONES, ZEROS = LABELS ^ np.arange(10) // 9, np.ones(10, int), np.zeros(10, int)


def experiment(
    folder: Path, predictions: dict[str, list[np.ndarray]], metric: str
) -> tuple[Plan, dict[str, RunStatus]]:
    runs, statuses = [], {}
    for method, of_method in predictions.items():
        for seed, of_run in enumerate(of_method):
            run = replace(planned(method, "rte", seed), metric=metric)
            write_predictions(folder / run.identity, {"validation": (LABELS, of_run), "other": (LABELS, ONES)})
            value = score(metric, LABELS, of_run)[metric]
            further = {f"other/{metric}": score(metric, LABELS, ONES)[metric]}
            runs.append(run)
            statuses[run.identity] = replace(done(run, value, **further), runs=folder)
    return plan_of(runs), statuses


@pytest.mark.parametrize("metric", ["accuracy", "f1", "accuracy_f1", "macro_f1", "matthews"])
def test_collapsed_runs_are_counted_beside_the_others(metric: str, tmp_path: Path) -> None:
    plan, statuses = experiment(tmp_path, {"vanilla": [LEARNT, ONES, ZEROS], "hype_n": [LEARNT]}, metric)
    by_place = results(plan, statuses, "paper")
    cells = {(row.method, task): result.cell.collapsed for (_, row, task), result in by_place.items()}
    assert cells == {("vanilla", "rte"): [1, 2], ("hype_n", "rte"): []} | {
        ("vanilla", "rte/other"): [0, 1, 2],
        ("hype_n", "rte/other"): [0],
    }
    text = write(experiment_tables(plan, by_place))
    assert "(3, 2 collapsed)" in text
    assert "collapsed: the run always gives one class" in text
    assert "(3, 2 collapsed)" in write(build_tables(statuses.values()))


def test_a_run_that_meets_the_score_of_a_class_by_chance_has_not_collapsed(tmp_path: Path) -> None:
    by_chance = np.roll(LABELS, 2)  # six of ten, as of all ones
    assert score("accuracy", LABELS, by_chance) == score("accuracy", LABELS, ONES)
    plan, statuses = experiment(tmp_path, {"vanilla": [by_chance, ONES]}, "accuracy")
    first, *_ = results(plan, statuses, "paper").values()
    assert first.cell.collapsed == [1]


def test_without_predictions_nothing_is_known(tmp_path: Path) -> None:
    plan, statuses = experiment(tmp_path, {"vanilla": [ONES, ONES]}, "accuracy")
    for run in plan.runs:
        (tmp_path / run.identity / "predictions.csv").write_text("no table")
    (first, _) = results(plan, statuses, "paper").values()
    assert first.cell.collapsed == []
    write_predictions(tmp_path / "third", {"validation": (LABELS, ONES)})
    (tmp_path / "third" / "predictions.csv").rename(tmp_path / plan.runs[1].identity / "predictions.csv")
    (first, _) = results(plan, statuses, "paper").values()
    assert first.cell.collapsed == [0, 1]


def test_the_signal_is_shown_without_them_too(tmp_path: Path) -> None:
    better = LABELS
    runs = {"vanilla": [LEARNT, LEARNT, ONES], "hype_n": [better, better, better]}
    plan, statuses = experiment(tmp_path, runs, "accuracy")
    signal = next(iter(signals(results(plan, statuses, "paper")).values()))
    assert signal.without_collapsed.noise == 0
    assert signal.unpaired.noise > 0
    (_, line), *_ = compare(plan, results(plan, statuses, "paper"), "signal").sheets[0].rows
    assert line[6][0] == "inf"
