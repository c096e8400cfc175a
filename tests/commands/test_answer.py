"""``hype-bench answer``: four words, the right control, and what would settle the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hype_bench.commands.answer import Format, answer
from hype_bench.commands.arguments import Correction, Family
from hype_bench.options import UserError
from hype_bench.sweeps.planned import read_plan, write_plan
from tests.tables.swept import write_experiment

SKILLS = {
    "vanilla": 0.6,
    "no_dropout": 0.75,
    "hype_n": 0.75,
    "mixout": 0.85,
    "r_drop": 0.61,
    "vanilla x2": 0.61,
    "hype_n+r_drop": 0.5,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_experiment(folder, SKILLS, spread=0.0005)
    return folder


def asked(capsys: pytest.CaptureFixture[str], *arguments: Any, **options: Any) -> dict[str, Any]:
    answer(*arguments, format=Format("json"), **options)
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def words(content: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(each["method"], each["control"]): each["verdict"] for each in content["answers"]}


def test_each_technique_against_vanilla_and_its_own_control(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = asked(capsys, "mine", results)
    twice = "vanilla with 2 times the epochs"
    assert words(content) == {
        ("no_dropout", "vanilla"): "helps",
        ("hype_n", "vanilla"): "helps",
        ("hype_n", "no_dropout"): "no difference",
        ("mixout", "vanilla"): "helps",
        ("mixout", "no_dropout"): "helps",
        ("r_drop", "vanilla"): "helps",
        ("r_drop", twice): "no difference",
        ("hype_n+r_drop", "vanilla"): "hurts",
        ("hype_n+r_drop", "no_dropout"): "hurts",
        ("hype_n+r_drop", twice): "hurts",
    }
    assert content["missing"] == []
    (first, *_) = [each for each in content["answers"] if each["method"] == "hype_n"]
    assert set(first["tasks"]) == {"rte", "mrpc"}
    assert first["difference_fraction"] == pytest.approx(0.15, abs=0.01)
    assert first["seeds"] == 5
    assert [each["time"] for each in content["answers"] if each["method"] == "r_drop"] == [2.0, 2.0]


def test_it_says_what_a_gain_is_made_of(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = asked(capsys, "mine", results)["sentences"]
    hype, mixout, r_drop, *_ = sentences
    assert hype.startswith("hype_n: +15.")
    assert sentences[-1].endswith(" over vanilla with 2 times the epochs (hurts)")
    assert " over vanilla (helps); equal to no_dropout within 0." in hype
    assert hype.endswith(": the gain is the missing dropout")
    assert mixout.endswith(" over no_dropout (helps): it does more than the missing dropout")
    assert r_drop.endswith(": the gain is the second pass over every batch")


def test_words_come_first_and_the_price_beside_them(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(None, results)  # the only experiment of the folder
    text = capsys.readouterr().out
    first, second = text.split("on each task, model: minilm\n")
    assert first.startswith("over 2 tasks, model: minilm\n")
    assert "hype_n against no_dropout" in first
    assert "hype_n against no_dropout, rte" in second
    assert "± 0.5 points" in second.replace("\n  ", " ")
    assert "0.000" not in text


def test_an_open_question_is_told_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6, "no_dropout": 0.61}, seeds=(1, 2, 3), spread=0.02)
    (one,) = asked(capsys, "mine", tmp_path)["answers"]
    assert one["verdict"] == "undecided"
    assert one["detectable_fraction"] > 0.01
    assert one["more_seeds"] is None or one["more_seeds"] > 5
    assert asked(capsys, "mine", tmp_path, margin=50)["answers"][0]["verdict"] == "no difference"


def test_a_control_that_was_not_run_comes_with_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.7, "r_drop": 0.6, "hype_n+r_drop": 0.6}, tasks=["rte"])
    hype, r_drop, *_ = asked(capsys, "mine", tmp_path)["missing"]
    command = "python run.py -m experiment=mine 'method=vanilla,hype_n,r_drop,[hype_n,r_drop],no_dropout'"
    assert hype == f"hype_n: no_dropout was not run on rte: {command}"
    assert "vanilla with 2 times the epochs was not run on rte; a grid of the experiment that has it" in r_drop
    with pytest.raises(UserError, match=r"vanilla: no_dropout was not run on rte: python run.py"):
        answer("mine", tmp_path, against="no_dropout")


def test_against_one_control_alone(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = words(asked(capsys, "mine", results, against="mixout", correction=Correction.bh, family=Family.table))
    assert {control for _, control in given} == {"mixout"}
    assert ("mixout", "mixout") not in given
    with pytest.raises(UserError, match=r"^--against=nothing: there is no such method"):
        answer("mine", results, against="nothing")


def test_one_seed_and_unequal_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_experiment(tmp_path, {"vanilla": 0.6, "no_dropout": 0.8}, seeds=(1, 2), tasks=["rte"])
    shutil.rmtree(tmp_path / "runs" / "rte-no_dropout-2-3")
    answer("mine", tmp_path)
    text = capsys.readouterr().out
    assert "no_dropout against vanilla, rte: seeds 1, 2 are not paired: one of its runs has no score" in text
    assert "nan" not in text
    alone = [run for run in plan.runs if run.seed == 1]
    write_plan(tmp_path, type(plan)(**{**vars(plan), "runs": alone}))
    (one,) = asked(capsys, "mine", tmp_path)["answers"]
    assert (one["verdict"], one["seeds"], one["p_adjusted"], one["detectable_fraction"]) == ("undecided", 1, None, None)


def test_runs_of_two_machines_are_no_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6, "no_dropout": 0.8}, seeds=(1, 2), tasks=["rte"])
    path = tmp_path / "runs" / "rte-vanilla-2-3" / "result.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    answer("mine", tmp_path)
    assert "seed 2 is not paired: cpu and cuda draw different dropout and noise" in capsys.readouterr().out


def test_what_cannot_be_answered_is_said_in_a_line(tmp_path: Path, results: Path) -> None:
    with pytest.raises(UserError, match=r"a margin is a number of points from 0 on"):
        answer("mine", results, margin=-1)
    with pytest.raises(UserError, match=r"^no run is done in "):
        answer(None, tmp_path)
    write_experiment(tmp_path, {"vanilla": 0.6, "no_dropout": 0.8}, seeds=(1,), tasks=["rte"])
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match=r"no run of mine is done in .*: python run.py -m experiment=mine"):
        answer("mine", tmp_path)
    write_plan(tmp_path, type(plan := read_plan(tmp_path, "mine"))(**{**vars(plan), "name": "other"}))
    with pytest.raises(UserError, match="there are mine, other"):
        answer(None, tmp_path)
