"""Rows against one of their own: families of comparisons, and tests that wait for enough seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hype_bench.options import UserError
from hype_bench.render.answer import nothing_to_answer
from hype_bench.render.comparisons import compare
from hype_bench.render.paired import paired_sheet
from hype_bench.render.report import Experiment, read_experiment, report
from hype_bench.stats.multiple import benjamini_hochberg, holm
from hype_bench.stats.sequential import decide
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.answer import answers
from hype_bench.tables.compare import DEFAULT, TABLE, Criteria, against_method
from hype_bench.tables.experiment import results
from hype_bench.tables.over_tasks import over_tasks
from tests.tables.swept import write_experiment
from tests.tables.test_table import make_run

SKILLS = {"vanilla": 0.6, "no_dropout": 0.62, "hype_n": 0.63}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("results")
    write_experiment(folder, SKILLS, seeds=range(6))
    return read_experiment(folder, "mine", "paper")


def adjusted(experiment: Experiment, **criteria: str) -> dict[tuple[str, str], float]:
    cells = against_method(experiment.plan, experiment.results, "vanilla", Criteria(**criteria))  # type: ignore[arg-type]
    return {(row.title, task): cell.verdict.p for (_, row, task), cell in cells.items()}


def test_a_family_is_a_task_unless_it_is_the_table(experiment: Experiment) -> None:
    cells = against_method(experiment.plan, experiment.results, "vanilla")
    plain = {(row.title, task): cell.measured.difference.p for (_, row, task), cell in cells.items()}
    tasks = adjusted(experiment)
    for task in ("rte", "mrpc"):
        family = [place for place in plain if place[1] == task]
        assert [tasks[place] for place in family] == pytest.approx(holm([plain[place] for place in family]))
    assert list(adjusted(experiment, family=TABLE).values()) == pytest.approx(holm(list(plain.values())))
    expected = benjamini_hochberg(list(plain.values()))
    assert list(adjusted(experiment, family=TABLE, correction="bh").values()) == pytest.approx(expected)


def test_without_tests_by_random_draws_the_verdicts_are_the_same(experiment: Experiment) -> None:
    judged = [
        against_method(experiment.plan, experiment.results, "vanilla", Criteria(resampled=drawn)).values()
        for drawn in (True, False)
    ]
    for with_draws, without in zip(*judged, strict=True):
        assert without.verdict == with_draws.verdict
        assert without.measured.difference == with_draws.measured.difference
        assert 0 < with_draws.p_seeds <= 1
        assert math.isnan(without.p_seeds)


def test_a_decision_at_any_time_is_at_a_level_that_the_family_shares(tmp_path: Path) -> None:
    write_experiment(tmp_path, SKILLS | {"hype_n": 0.68}, seeds=range(10), tasks=["rte"])
    read = read_experiment(tmp_path, "mine", "paper")
    decisions = []
    for rows in (("vanilla", "hype_n"), ("vanilla", "hype_n", "no_dropout")):
        results = {place: of for place, of in read.results.items() if place[1].method in rows}
        compared = against_method(read.plan, results, "vanilla")
        (cell,) = (cell for place, cell in compared.items() if place[1].method == "hype_n")
        assert cell.decision == decide(cell.measured.by_seed, level=1 - 0.05 / (len(rows) - 1))
        decisions.append(cell.decision)
    assert {decision.word for decision in decisions} == {"helps"}
    assert decisions[0].seeds < decisions[1].seeds <= 10


def columns(experiment: Experiment) -> tuple[list[str], str]:
    sheet = next(sheet for sheet in compare(experiment.plan, experiment.results, "vanilla").sheets)
    return [name for name, _ in sheet.columns], " ".join(sheet.notes)


def test_six_seeds_have_a_sign_flip_test_and_its_floor_is_said(experiment: Experiment) -> None:
    names, notes = columns(experiment)
    assert "sign-flip p" in names
    assert "bootstrap p" not in names
    assert "cannot fall below 0.031 with 6 seeds" in notes


def test_five_seeds_have_none_and_ten_have_a_bootstrap_too(tmp_path: Path) -> None:
    for seeds, expected in ((5, set()), (10, {"sign-flip p", "bootstrap p"})):
        write_experiment(tmp_path / str(seeds), SKILLS, seeds=range(seeds), tasks=["rte"])
        few = read_experiment(tmp_path / str(seeds), "mine", "paper")
        names, _ = columns(few)
        assert {"sign-flip p", "bootstrap p"} & set(names) == expected
        (cell, _) = against_method(few.plan, few.results, "vanilla").values()
        assert math.isnan(cell.p_seeds) == (seeds == 5)
        assert all(math.isnan(p) == (seeds == 5) for p in cell.measured.bootstrap)


def test_nothing_is_inferred_from_two_seeds(tmp_path: Path) -> None:
    for seeds in (2, 3):
        folder = tmp_path / str(seeds)
        write_experiment(folder, {"vanilla": 0.6, "hype_n": 0.9}, seeds=range(seeds))
        read = read_experiment(folder, "mine", "paper")
        text = report(read, "text", "vanilla", intervals=True).text
        assert ("below 3 seeds differences are shown without" in text) == (seeds == 2)
        cells = against_method(read.plan, read.results, "vanilla")
        assert {cell.verdict.word for cell in cells.values()} == {"undecided" if seeds == 2 else "helps"}
        (over,) = over_tasks(read.results, "vanilla", cells).values()
        lacking = [cell.measured.difference.p for cell in cells.values()]
        lacking += [over.difference.low, over.improvement.p, over.difference.p]
        assert np.isnan(lacking).all() == (seeds == 2)
        assert ("[" in text) == (seeds == 3)
        assert over.won == (0 if seeds == 2 else 2)


@pytest.mark.parametrize(("seed", "stars"), [(0.01, " ***"), (-0.01, "")])
def test_no_star_where_a_seed_contradicts_the_others(experiment: Experiment, seed: float, stars: str) -> None:
    (place, cell), *_ = against_method(experiment.plan, experiment.results, "vanilla").items()
    measured = replace(cell.measured, by_seed=np.array([0.02] * 5 + [seed]))
    cell = replace(cell, measured=measured, verdict=replace(cell.verdict, p=1e-4))
    ((_, line),) = paired_sheet("minilm", {place: cell}, "vanilla", Criteria()).rows
    assert "".join(line[1]) == f"< 0.001{stars}"


def test_a_note_on_several_cells_is_said_once(experiment: Experiment) -> None:
    cells = against_method(experiment.plan, experiment.results, "vanilla")
    noted = {
        place: replace(
            cell, measured=replace(cell.measured, notes=["of all", *["of one"] * (place == next(iter(cells)))])
        )
        for place, cell in cells.items()
    }
    *_, of_all, of_one = paired_sheet("minilm", noted, "vanilla", Criteria()).notes
    _, row, task = next(iter(cells))
    assert len(cells) > 1
    assert (of_all, of_one) == ("of all", f"{row.title}, {task}: of one")


def test_runs_with_the_same_predictions_are_counted(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.6}, seeds=range(3), tasks=["rte"], spread=0)
    read = read_experiment(tmp_path, "mine", "paper")
    (cell,) = against_method(read.plan, read.results, "vanilla").values()
    assert cell.measured.notes == ["both sides make the same predictions with 3 of 3 seeds"]


def test_what_is_in_units_of_its_own_has_no_margin_and_is_not_better() -> None:
    """Half a point would call cosines of 0.400 and 0.404 alike, and milliseconds never."""
    cosines = {"vanilla": (0.401, 0.399, 0.4), "hype_n": (0.405, 0.403, 0.4041)}
    runs, statuses = [], {}
    for method, scores in cosines.items():
        for seed, score in enumerate(scores, start=1):
            run = make_run(method=method, seed=seed, metric="cosine", scores={"cosine": score})
            place = run.identity, "minilm", "minilm", "rte.similarity", "cosine", method, ""
            runs.append(PlannedRun(*place, {}, {}, True, seed, [], analysis="similarity"))
            statuses[run.identity] = run
    plan = Plan("figure4", "", "paper", None, [], "", runs)
    cells = results(plan, statuses, "paper")
    (compared,) = against_method(plan, cells, "vanilla").values()
    assert compared.verdict.word == "higher"
    assert math.isnan(compared.verdict.more_seeds)
    (sheet,) = compare(plan, cells, "vanilla").sheets
    assert sheet.plain()[0][1].startswith("+0.004033 [+0.00")
    assert any("no margin" in note for note in sheet.notes)
    assert answers(cells, {}, DEFAULT) == ([], [])
    experiment = Experiment(plan, "paper", statuses, cells)
    assert nothing_to_answer(experiment, []).startswith("figure4 measures cosine, of which neither more nor less is ")


def test_the_only_row_is_not_compared_with_itself(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6}, seeds=(1,), tasks=["rte"])
    read = read_experiment(tmp_path, "mine", "paper")
    with pytest.raises(UserError, match="vanilla is the only row of mine: run another technique"):
        against_method(read.plan, read.results, "vanilla")
