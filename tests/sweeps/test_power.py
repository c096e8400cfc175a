"""What a plan's seeds can show, by hand, from records of finished runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from hype_bench.render.plan import plan_text
from hype_bench.runs.record import Record
from hype_bench.runs.status import DIVERGED, DONE, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.sweeps.power import power_of
from tests.runs.records import record_of

VANILLA = {1: 0.60, 2: 0.62, 3: 0.61, 9: 0.99}
HYPE, R_DROP = {1: 0.63, 2: 0.61, 3: 0.62, 8: 0.1}, {1: 0.61, 2: 0.65}


def plan(seeds: int = 3, task: str = "rte") -> Plan:
    runs = [
        PlannedRun(f"new {seed}", "minilm", "minilm", task, "accuracy", "mixout", "", {}, {}, True, seed, [])
        for seed in range(seeds)
    ]
    return Plan("mine", "", "paper", None, [], "", runs)


def finished(method: str, scores: Mapping[int, float], task: str = "rte", **training: Any) -> dict[str, RunStatus]:
    statuses = {}
    for seed, score in scores.items():
        content = record_of(score, seed, model="minilm", task=task, method=method)
        content["parts"]["training"] |= training
        name = f"{method} {task} {seed} {training}"
        statuses[name] = RunStatus(name, DONE, Path(), Record.trusted(content))
    return statuses


def test_the_spread_is_pooled_over_the_techniques_of_one_setting() -> None:
    """Differences to vanilla: 3, -1 and 1 points of one, 1 and 3 of the other; of other settings 0 and 2."""
    statuses = finished("vanilla", VANILLA) | finished("hype_n", HYPE) | finished("r_drop", R_DROP)
    statuses |= finished("vanilla", {1: 0.5, 2: 0.5}, epochs=9.0) | finished("hype_n", {1: 0.5, 2: 0.52}, epochs=9.0)
    statuses |= finished("vanilla", VANILLA, "cola") | finished("no_dropout", {1: 0.0}, "rte")
    (power,) = power_of(plan(), statuses)
    assert (power.model, power.task, power.seeds, power.freedom) == ("minilm", "rte", 3, 4)
    assert power.std == pytest.approx(0.01 * math.sqrt((8 + 2 + 2) / 4))
    assert power.detectable == pytest.approx(3.264 * power.std, rel=1e-3)
    power_of_t = stats.nct.sf(
        stats.t.ppf(0.975, power.needed - 1), power.needed - 1, 0.005 / power.std * math.sqrt(power.needed)
    )
    assert power_of_t == pytest.approx(0.8, abs=0.005)


def test_without_vanilla_the_first_technique_is_the_base_and_what_has_no_score_counts_for_nothing() -> None:
    statuses = finished("hype_n", HYPE) | finished("r_drop", R_DROP | {3: math.nan})
    lost = finished("mixout", R_DROP)
    statuses |= {name: RunStatus(name, DIVERGED, Path(), status.record) for name, status in lost.items()}
    (power,) = power_of(plan(), statuses)
    assert power.freedom == 1


def test_it_stands_below_the_plan() -> None:
    statuses = finished("vanilla", VANILLA) | finished("hype_n", HYPE)
    assert plan_text(plan(), statuses).splitlines()[-3:] == [
        "",
        "what a test over seeds detects in 80 % of the cases, by the spread of finished runs:",
        "minilm rte: 3 seeds can detect 6.5 points, 0.5 points need 128 (paired differences scatter by 2.00 points, "
        "2 degrees of freedom)",
    ]
    assert "one seed can detect nothing" in plan_text(plan(1), statuses)
    assert "what a test" not in plan_text(plan(task="cola"), statuses)
