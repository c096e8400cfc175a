"""Answers from results: which cells they rest on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from hype_bench.render.answer import write_answer
from hype_bench.render.report import read_experiment
from hype_bench.stats.verdict import HELPS, NO_DIFFERENCE, UNDECIDED
from hype_bench.sweeps.planned import write_plan
from hype_bench.tables.answer import answers, undecided
from hype_bench.tables.compare import DEFAULT
from hype_bench.tables.experiment import Place, Result
from tests.tables.swept import EXAMPLES, write_experiment


@pytest.fixture
def results(tmp_path: Path) -> dict[Place, Result]:
    write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.7}, seeds=(1, 2, 3))
    return read_experiment(tmp_path, "mine", "paper").results


def test_over_tasks_a_task_counts_once(results: dict[Place, Result]) -> None:
    """A further split of a task is scored by the same runs."""
    renamed = {
        (block, row, {"mrpc": "rte/mismatched"}.get(task, task)): of for (block, row, task), of in results.items()
    }
    ((two,), _), ((one,), _) = answers(results, {}, DEFAULT), answers(renamed, {}, DEFAULT)
    assert list(one.tasks) == ["rte", "rte/mismatched"]
    assert (two.overall.difference.examples, one.overall.difference.examples) == (2 * EXAMPLES, EXAMPLES)
    assert one.gain == one.tasks["rte"].measured.difference.mean


@pytest.mark.parametrize(("more", "tied"), [("", False), ("; data.subset_seed=tied", True)])
def test_on_one_subset_for_all_seeds_an_answer_is_conditional(
    results: dict[Place, Result], more: str, tied: bool, tmp_path: Path
) -> None:
    drawn = f"data.max_train_examples=100{more}"
    limited = {place: replace(result, frame=result.frame.assign(subset=drawn)) for place, result in results.items()}
    given, missing = answers(limited, {}, DEFAULT)
    text = write_answer(read_experiment(tmp_path, "mine", "paper").plan, given, missing, DEFAULT, "text")
    assert ("one subset for all seeds (mrpc, rte): intervals are conditional on it" in text) is not tied


def test_a_price_needs_one_kind_of_device(results: dict[Place, Result], tmp_path: Path) -> None:
    (answer,), _ = answers(results, {}, DEFAULT)
    assert answer.time == 1
    for record in (tmp_path / "runs").glob("*hype_n*/result.json"):
        record.write_text(record.read_text().replace("a CPU", "another"))
    (answer,), _ = answers(read_experiment(tmp_path, "mine", "paper").results, {}, DEFAULT)
    assert math.isnan(answer.time)


def test_unequal_searches_are_said(tmp_path: Path) -> None:
    plan = write_experiment(tmp_path, {"vanilla": 0.6, "no_dropout": 0.55, "hype_n": 0.7}, seeds=(1, 2), tasks=["rte"])
    runs = [
        run if run.method == "hype_n" else replace(run, method="vanilla", configuration={"rate": run.method})
        for run in plan.runs
    ]
    write_plan(tmp_path, replace(plan, search=["rate"], runs=runs))
    read = read_experiment(tmp_path, "mine", "paper")
    given, missing = answers(read.results, {}, DEFAULT)
    text = write_answer(read.plan, given, missing, DEFAULT, "text").replace("\n  ", " ")
    assert "hype_n against vanilla: the best of 1 and of 2 configurations; unequal searches favour the longer" in text
    assert "hype-bench table mine --compare vanilla shows equal ones" in text


def collapse(folder: Path, method: str, runs: int) -> None:
    """Has the first runs of a technique on RTE give one class, which is right about half of the examples."""
    for seed in range(1, runs + 1):
        run = folder / "runs" / f"rte-{method}-{seed}-3"
        rows = [f"validation,{index},{index % 2},1" for index in range(EXAMPLES)]
        (run / "predictions.csv").write_text("\n".join(["split,index,label,prediction", *rows]))
        record = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(json.dumps(record | {"scores": {"accuracy": 0.5}}))


@pytest.mark.parametrize(("collapsed", "word"), [(2, HELPS), (3, UNDECIDED), (6, UNDECIDED)])
def test_runs_that_give_one_class_do_not_help(tmp_path: Path, collapsed: int, word: str) -> None:
    write_experiment(tmp_path, {"vanilla": 0.2, "hype_n": 0.5}, seeds=range(1, 7), spread=0.001)
    collapse(tmp_path, "hype_n", collapsed)
    results = read_experiment(tmp_path, "mine", "paper").results
    (answer,), _ = answers(results, {}, DEFAULT)
    rte, mrpc = answer.tasks["rte"], answer.tasks["mrpc"]
    assert (rte.verdict.word, mrpc.verdict.word) == (word, HELPS)
    assert answer.overall.word == word  # it rests on that task, too
    assert rte.decision.word == (HELPS if collapsed == 2 else UNDECIDED)
    assert len(undecided(results, {}, DEFAULT)) == (collapsed != 2)
    never = "; that is never called help" if collapsed > 2 else ""
    assert rte.measured.notes == [f"{collapsed} of the technique's 6 runs always give one class{never}"]


def test_a_remark_on_several_comparisons_is_made_once(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"vanilla": 0.5, "hype_n": 0.9, "r_drop": 0.7}, seeds=range(1, 7), spread=0.001)
    collapse(tmp_path, "vanilla", 6)
    read = read_experiment(tmp_path, "mine", "paper")
    text = write_answer(read.plan, *answers(read.results, {}, DEFAULT), DEFAULT, "text").replace("\n  ", " ")
    both = "hype_n against vanilla, rte; r_drop against vanilla, rte"
    assert f"\n{both}: 6 of the control's 6 runs always give one class\n" in text
    assert text.count("always give one class") == 1


def test_a_control_that_gives_one_class_can_be_helped(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"vanilla": 0.5, "hype_n": 0.9}, seeds=range(1, 7), tasks=["rte"], spread=0.001)
    collapse(tmp_path, "vanilla", 6)
    (answer,), _ = answers(read_experiment(tmp_path, "mine", "paper").results, {}, DEFAULT)
    assert answer.overall.word == HELPS
    assert answer.tasks["rte"].measured.notes == ["6 of the control's 6 runs always give one class"]


def test_two_that_give_one_class_are_no_different(tmp_path: Path) -> None:
    write_experiment(tmp_path, {"vanilla": 0.5, "hype_n": 0.5}, seeds=range(1, 6), tasks=["rte"])
    for method in ("vanilla", "hype_n"):
        collapse(tmp_path, method, 5)
    (answer,), _ = answers(read_experiment(tmp_path, "mine", "paper").results, {}, DEFAULT)
    cell = answer.tasks["rte"]
    assert (cell.verdict.word, cell.decision.word, cell.decision.seeds) == (NO_DIFFERENCE, NO_DIFFERENCE, 5)
