"""What the benchmarks make of their measurements."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return import_module


def test_starts_that_were_not_made_count_as_those_that_were(script: Callable[[str], Any]) -> None:
    bench = script("bench_sweep")
    runs = [bench.Run(wall=10.0, cpu=4.0, scores=[0.1]), bench.Run(wall=20.0, cpu=6.0, scores=[0.3])]
    assert bench.Arm.of(runs, wanted=24) == bench.Arm(wall=360.0, cpu=120.0, made=2, scores=[0.1, 0.3])


@pytest.mark.parametrize("starts", [1, 3, 5, 24])
def test_starts_come_before_between_and_behind_the_sweeps(starts: int, script: Callable[[str], Any]) -> None:
    bench = script("bench_sweep")
    order = list(bench.in_turns(starts))
    started = [(name, seed) for name in bench.SCRIPTS for seed in range(1, 1 + starts)]
    assert sorted(order) == sorted([*started, *((name, 0) for name in bench.SWEEPS)])
    assert order[0][0] in bench.SCRIPTS
    assert starts < 3 or order[-1][0] in bench.SCRIPTS


def test_the_table_of_a_sweep_says_how_many_times_as_fast_each_is(script: Callable[[str], Any]) -> None:
    bench = script("bench_sweep")
    seconds = {"script, 128": 1000.0, "script, longest": 250.0, "one process": 120.0, "joblib": 100.0}
    lines = bench.report({name: bench.Arm(wall, wall / 2, 1, [0.25]) for name, wall in seconds.items()}).splitlines()
    assert "| script, 128 | 1 | 1000 | 500 | 25.0 (1) |" in lines
    assert "| joblib, of script, 128 | 10.00 | 10.00 | 10.0 |" in lines
    assert "| joblib, of one process | 1.20 | 1.20 | 1.2 |" in lines


def test_a_curve_is_as_steep_as_where_it_is_steepest(script: Callable[[str], Any]) -> None:
    curve = script("bench_growth").Curve("", {10: 1.0, 100: 1.0, 1000: 100.0, 10_000: 1000.0})
    slope, small, large = curve.steepest
    assert (round(slope, 6), small, large) == (2.0, 100, 1000)


def test_the_table_of_a_gpu_says_which_targets_hold(script: Callable[[str], Any]) -> None:
    """Of what was measured: an arm that failed leaves its target out."""
    bench = script("bench_gpu")
    techniques = {name: {"ms": ms, "memory": 100} for name, ms in (("vanilla", 10), ("hype_n", 10.2), ("r_drop", 19.6))}
    text = bench.report(
        {"machine": {"card": "a card"}, "techniques": techniques, "small runs": {"one run, eager": 5.0}}
    )
    assert "| hype_n, time / vanilla | at most 1.03 | 1.020 | yes |" in text
    assert "| r_drop, time / vanilla | at most 1.95 | 1.960 | **no** |" in text
    assert "at once" not in text
