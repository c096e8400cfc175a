"""Rows after searches of equal size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hype_bench.render.comparisons import compare
from hype_bench.runs.record import Scores
from hype_bench.runs.status import DIVERGED, RunStatus
from hype_bench.stats.paired import paired_difference
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.budget import at_equal_search, at_same_budget
from hype_bench.tables.experiment import results
from tests.tables.test_experiment import changed, done, plan_of, planned

RATES = {"1e-05": 0.62, "2e-05": 0.72}


def searched(rates: dict[str, float], seeds: int = 3) -> tuple[Plan, dict[str, RunStatus]]:
    """vanilla over these rates; hype_n with one."""
    runs = [planned("vanilla", "rte", seed, rate=rate) for rate in rates for seed in range(seeds)]
    statuses = {run.identity: done(run, rates[run.configuration["learning_rate"]] + 0.01 * run.seed) for run in runs}
    for seed in range(seeds):
        run = planned("hype_n", "rte", seed)
        runs.append(run)
        statuses[run.identity] = done(run, 0.70 + 0.02 * seed)
    return plan_of(runs), statuses


def test_at_the_same_budget_by_enumeration() -> None:
    """One drawn of vanilla's two (means 0.63 and 0.73) is 0.68 on average."""
    plan, statuses = searched(RATES)
    budget, curve = compare(plan, results(plan, statuses, "paper"), "budget").sheets
    assert budget.plain() == [["vanilla", "68.00 ± 5.00 (2)"], ["hype_n", "72.00 ± 0.00 (1)"]]
    assert "expected best mean dev score of 1 configuration drawn" in budget.notes[0]
    assert curve.plain() == [["vanilla, rte", "68.00", "73.00"], ["hype_n, rte", "72.00", "-"]]


def test_a_cell_that_lacks_runs_has_no_number() -> None:
    plan, statuses = searched(RATES)
    del statuses[plan.runs[-1].identity]
    budget, curve = compare(plan, results(plan, statuses, "paper"), "budget").sheets
    assert budget.plain()[1] == ["hype_n", "X (2 of 3 runs)"]
    assert [title for title, _ in curve.rows] == ["vanilla, rte"]


def test_without_a_search_there_is_no_curve() -> None:
    plan, statuses = searched({"1e-05": 0.6})
    assert len(compare(plan, results(plan, statuses, "paper"), "budget").sheets) == 1


@pytest.mark.parametrize("lost", [DIVERGED, "nan"])
def test_a_configuration_that_lost_a_seed_counts_as_the_worst_run_of_its_search(lost: str) -> None:
    """Three rates of which the first would win by the seeds that it has left."""
    means = {"3e-05": 0.9, "2e-05": 0.8, "1e-05": 0.7}
    runs = [planned("vanilla", "rte", seed, rate=rate) for rate in means for seed in (1, 2)]
    tried = [planned("hype_n", "rte", seed, rate=rate) for rate in ("1e-05", "2e-05") for seed in (1, 2)]
    statuses = {run.identity: done(run, means[run.configuration["learning_rate"]]) for run in (*runs, *tried)}
    first = runs[0]
    statuses[first.identity] = done(first, float("nan"))
    if lost == DIVERGED:
        diverged = changed(statuses[first.identity], status=DIVERGED, scores=Scores())
        statuses[first.identity] = replace(diverged, state=DIVERGED)
    plan = plan_of([*runs, *tried])
    budget, _ = compare(plan, results(plan, statuses, "paper"), "budget").sheets
    by_hand = [["vanilla", "76.67 ± 4.71 (3, 1 lost)"], ["hype_n", "80.00 ± 0.00 (2)"]]  # (80 + 80 + 70) / 3
    assert budget.plain() == by_hand
    assert budget.notes[1].startswith("lost: a seed diverged")
    alone = plan_of([run for run in runs if run.configuration["learning_rate"] == "3e-05"])
    (best,) = at_same_budget(results(alone, statuses, "paper")).values()
    assert (best.tried, best.lost, best.curve) == (1, 1, ())


def test_a_row_is_compared_with_a_wider_search_at_equal_size() -> None:
    plan, statuses = searched(RATES)
    comparison = compare(plan, results(plan, statuses, "paper"), "vanilla")
    equal = comparison.sheets[-1]
    assert equal.plain()[0][:2] == ["hype_n, rte", "1, 2, 1"]
    vanilla = {seed: 0.67 + 0.01 * seed for seed in range(3)}
    by_hand = paired_difference({seed: 0.70 + 0.02 * seed for seed in range(3)}, vanilla)
    (search,) = at_equal_search(results(plan, statuses, "paper"), "vanilla").values()
    assert search.difference[:3] == pytest.approx((by_hand.mean, by_hand.low, by_hand.high))
    assert next(iter(comparison.columns.values()))["equal_search_configurations"] == 1


def test_a_row_of_the_baseline_that_searched_as_much_is_named() -> None:
    plan, statuses = searched({"1e-05": 0.6})
    for rate in RATES:
        for method, row in (("vanilla", "vanilla, wider"), ("hype_n", "hype_n, wider")):
            run = planned(method, "rte", 0, rate=rate, row=row)
            run = replace(run, identity=f"{row}-{rate}")
            plan.runs.append(run)
            statuses[run.identity] = done(run, 0.7)
    equal = compare(plan, results(plan, statuses, "paper"), "vanilla").sheets[-1]
    assert "hype_n, wider: vanilla, wider searched as much: --compare 'vanilla, wider'" in equal.notes


@pytest.mark.parametrize("rule", ["default", "paper"])
def test_nothing_is_compared_again_where_nothing_was_chosen(rule: str) -> None:
    plan, statuses = searched(RATES if rule == "default" else {"1e-05": 0.6})
    assert at_equal_search(results(plan, statuses, rule), "vanilla") == {}


def test_an_unfinished_search_has_no_difference() -> None:
    plan, statuses = searched(RATES)
    del statuses[plan.runs[0].identity]
    equal = compare(plan, results(plan, statuses, "paper"), "vanilla").sheets[-1]
    assert equal.plain() == [["hype_n, rte", "1, 2, 1", "X", ""]]
