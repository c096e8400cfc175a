"""Which configuration a cell reports: by dev score, by held-out score, by default; and when it reports none."""

from __future__ import annotations

import math

import pytest

from hype_bench.tables.cells import Cell
from hype_bench.tables.selection import RULES, Candidate, by_dev_score, by_heldout_score, without_search


def candidate(name: str, dev: list[float], held: list[float] | None = None, **more: object) -> Candidate:
    cells = [Cell("accuracy", dict(enumerate(scores, start=1))) for scores in (dev, held or [])]
    given = {"planned": len(dev), **more}
    unfinished = given.pop("unfinished", {})
    cells[0].unfinished = unfinished  # type: ignore[assignment]
    return Candidate({"rate": name}, *cells, **given)  # type: ignore[arg-type]


LOW, HIGH = candidate("low", [0.5, 0.6], [0.9, 0.9]), candidate("high", [0.7, 0.8], [0.1, 0.2], is_default=True)


def test_each_rule_chooses_by_its_own_score_and_reports_dev() -> None:
    assert by_dev_score([LOW, HIGH]).configuration == {"rate": "high"}
    held = by_heldout_score([LOW, HIGH])
    assert held.configuration == {"rate": "low"}
    assert held.cell.scores == {1: 0.5, 2: 0.6}
    assert without_search([LOW, HIGH]).configuration == {"rate": "high"}
    assert set(RULES) == {"paper", "heldout", "default"}


def test_the_mean_over_seeds_decides_not_the_best_seed() -> None:
    steady, lucky = candidate("steady", [0.7, 0.7, 0.7]), candidate("lucky", [0.9, 0.4, 0.4])
    assert by_dev_score([lucky, steady]).configuration == {"rate": "steady"}


@pytest.mark.parametrize("rule", [by_dev_score, by_heldout_score])
def test_a_missing_run_leaves_no_number(rule: object) -> None:
    late = candidate("late", [0.1], [0.1], planned=2, unfinished={"running": 1})
    chosen = rule([HIGH, late])
    assert chosen.cell.missing == "3 of 4 runs"
    assert chosen.cell.n == 0
    assert chosen.cell.unfinished == {"running": 1}


def test_unfinished_runs_of_all_configurations_are_counted_together() -> None:
    late = [candidate(name, [0.1], planned=3, unfinished={"running": 1, "failed": 1}) for name in "ab"]
    assert by_dev_score(late).cell.unfinished == {"running": 2, "failed": 2}


def test_a_diverged_run_has_ended_and_its_configuration_is_second_choice() -> None:
    fallen = candidate("fallen", [0.99], planned=2, unfinished={"diverged": 1})
    assert by_dev_score([fallen, LOW]).configuration == {"rate": "low"}
    only = by_dev_score([fallen])
    assert (only.cell.missing, only.cell.scores, only.cell.unfinished) == ("", {1: 0.99}, {"diverged": 1})


def test_nan_is_never_the_best() -> None:
    assert by_dev_score([candidate("nan", [math.nan, 0.9]), LOW]).configuration == {"rate": "low"}


def test_a_nan_and_a_diverged_run_count_alike() -> None:
    worse = candidate("nan", [math.nan, 0.8]), candidate("fallen", [0.7], planned=2, unfinished={"diverged": 1})
    better = candidate("nan", [math.nan, 0.7]), candidate("fallen", [0.8], planned=2, unfinished={"diverged": 1})
    assert by_dev_score(worse).configuration == {"rate": "nan"}
    assert by_dev_score(better).configuration == {"rate": "fallen"}
    both_lost = candidate("both", [math.nan], planned=2, unfinished={"diverged": 1})
    assert by_dev_score([both_lost, *worse]).configuration == {"rate": "nan"}


def test_rules_say_what_they_lack() -> None:
    assert by_heldout_score([candidate("a", [0.5, 0.6])]).cell.missing == "no held-out scores"
    assert without_search([LOW]).cell.missing == "no default"


def test_a_configuration_that_a_split_does_not_score_has_an_empty_cell_there() -> None:
    tried = candidate("a", [0.5], further={"other": Cell("accuracy", {1: 0.3})})
    assert tried.on("") is tried.reported
    assert tried.on("other").scores == {1: 0.3}
    assert tried.on("third") == Cell("accuracy")
