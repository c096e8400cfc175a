"""Which tasks separate rows: the right runs go into the numbers, and what cannot be computed is said."""

from __future__ import annotations

import numpy as np
import pytest

from hype_bench.render.comparisons import compare
from hype_bench.render.text import sheets
from hype_bench.stats.signal import paired_separation, separation
from hype_bench.tables.experiment import experiment_tables, results
from hype_bench.tables.signal import signals
from tests.tables.test_experiment import done, plan_of, planned

SCORES = {
    "vanilla": [0.60, 0.62, 0.64],
    "hype_n": [0.70, 0.71, 0.75],
    "mixout": [0.61, 0.63, 0.63],
}


def experiment(scores, task="rte"):
    runs = [planned(method, task, seed) for method, of_method in scores.items() for seed in range(len(of_method))]
    statuses = {run.identity: done(run, scores[run.method][run.seed]) for run in runs}
    return plan_of(runs), statuses


def test_all_rows_with_a_whole_cell_count():
    plan, statuses = experiment(SCORES)
    unfinished = planned("reinit", "rte", 7)
    plan = plan_of([*plan.runs, unfinished])
    ((place, signal),) = signals(results(plan, statuses, "paper")).items()
    assert place == ("bert_large", "rte")
    assert (signal.rows, signal.seeds, signal.separates) == (3, 3, True)
    assert signal.paired == paired_separation(list(SCORES.values()))
    assert signal.unpaired == separation(SCORES.values())
    noise = np.mean([np.std(scores) / np.mean(scores) for scores in SCORES.values()])
    means = [np.mean(scores) for scores in SCORES.values()]
    assert signal.released == pytest.approx(np.ptp(means) / np.mean(means) / noise)


def test_letter_by_letter():
    plan, statuses = experiment(SCORES)
    (one,) = compare(plan, results(plan, statuses, "paper"), "signal").sheets
    assert one.plain() == [
        [
            *("rte (3 rows, 3 common seeds)", "10.00", "1.05", "9.49 (0.98)", "< 0.001 ***", "yes"),
            *("4.93 (0.98)", "4.93 (0.98)", "6.41", "0.89"),
        ]
    ]
    assert "a coin: 0.50" in one.notes[0]


def test_rows_without_common_seeds_are_compared_over_all_of_theirs():
    plan, statuses = experiment({"vanilla": [0.6, 0.61, 0.6, 0.62, 0.6], "hype_n": [0.7] * 5})
    plan = plan_of([run for run in plan.runs if run.seed <= 2 and run.method == "vanilla"] + plan.runs[-3:])
    (one,) = compare(plan, results(plan, statuses, "paper"), "signal").sheets
    assert one.plain()[0][:4] == ["rte (2 rows, 1 common seed)", "9.67", "-", "-"]
    assert one.plain()[0][5] == "yes"


def test_two_seeds_have_a_ratio_and_no_test():
    plan, statuses = experiment({name: of_row[:2] for name, of_row in SCORES.items()})
    (one,) = compare(plan, results(plan, statuses, "paper"), "signal").sheets
    assert one.plain()[0][3] != "-"
    assert one.plain()[0][4:6] == ["-", "not computable"]


@pytest.mark.parametrize("scores", [{"vanilla": [0.6, 0.7]}, {"vanilla": [0.6], "hype_n": [0.7]}])
def test_one_row_or_one_seed_is_not_computable(scores):
    plan, statuses = experiment(scores)
    comparison = compare(plan, results(plan, statuses, "paper"), "signal")
    (line,) = comparison.sheets[0].plain()
    assert line[5] == "not computable"
    assert {numbers["separates"] for numbers in comparison.columns.values()} == {""}
    assert sheets(experiment_tables(plan, results(plan, statuses, "paper")))  # the table itself is shown all the same


def test_the_csv_has_the_numbers_in_full():
    plan, statuses = experiment(SCORES)
    for numbers in compare(plan, results(plan, statuses, "paper"), "signal").columns.values():
        assert numbers["noise_fraction"] == paired_separation(list(SCORES.values())).noise
        assert numbers["separates"] == "yes"
