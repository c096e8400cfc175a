"""Two runs, or two methods of an experiment, beside one another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from hype_bench.commands.compare import compare
from hype_bench.options import UserError
from hype_bench.tables.two_runs import changes, find_run
from tests.runs.records import record_of
from tests.tables.swept import write_experiment

LABELS = [1, 1, 0, 0, 1, 0]
A, B = [1, 1, 0, 0, 0, 1], [1, 0, 1, 1, 1, 1]  # right alone: 3 and 1


def write(folder: Path, name: str, predictions: list[int], metric: str = "accuracy", **about: Any) -> None:
    run = folder / "runs" / name
    run.mkdir(parents=True)
    score = sum(label == value for label, value in zip(LABELS, predictions, strict=True)) / len(LABELS)
    record = record_of(score, metric=metric, **about)
    record["scores"] = {metric: score}
    record["parts"]["training"]["learning_rate"] = 1e-5 if name.startswith("aa") else 2e-5
    (run / "result.json").write_text(json.dumps({**record, "classes": ["no", "yes"]}))
    rows = [f"validation,{n},{label},{value}" for n, (label, value) in enumerate(zip(LABELS, predictions, strict=True))]
    (run / "predictions.csv").write_text("\n".join(["split,index,label,prediction", *rows]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "aa11", A)
    write(tmp_path, "ab22", B, seed=4)
    return tmp_path


def test_settings_scores_and_changed_examples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare("aa", "ab22", folder)
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["learning_rate", "1e-5", "2e-5"] in [[line[0].rpartition(".")[2], *line[1:]] for line in lines if line]
    assert ["seed", "3", "4"] in lines
    assert ["accuracy", "66.67", "33.33", "+33.33"] in lines
    assert ["1", "yes", "yes", "no"] in lines
    assert "4 of 6 examples predicted differently" in text
    assert "right alone: 3 and 1; p 0.625" in text


def test_more_examples_than_are_shown_are_counted(folder: Path) -> None:
    both = changes(find_run(folder, "aa11"), find_run(folder, "ab22"), "")
    assert (both.examples, both.only_a, both.only_b) == (6, 3, 1)
    assert both.changed == [(1, 1, 1, 0), (2, 0, 0, 1), (3, 0, 0, 1), (4, 1, 0, 1)]
    assert both.p == 0.625


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [
        ("aa11", "none", "'none' names none of them"),
        ("a", "ab22", "'a' begins 3 of them: aa11, ab22, af55"),
        ("", "ab22", "'' names none"),
        ("aa11", "aa", "are the same run"),
        ("aa11", "af55", "of different tasks or metrics"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folder: Path, a: str, b: str, complaint: str) -> None:
    write(folder, "af55", B, task="other")
    with pytest.raises(UserError, match=complaint):
        compare(a, b, folder)


def test_runs_on_other_examples_are_not_compared(folder: Path) -> None:
    path = folder / "runs" / "ab22" / "predictions.csv"
    path.write_text(
        "\n".join(line.replace("validation,5,0,1", "validation,5,1,0") for line in path.read_text().split("\n"))
    )
    with pytest.raises(UserError, match="not scored on the same examples"):
        compare("aa11", "ab22", folder)


def test_two_methods_seed_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.7}, seeds=(1, 2, 3), spread=0)
    shutil.rmtree(tmp_path / "runs" / "mrpc-hype_n-3-3")
    compare("hype_n", "vanilla", tmp_path, experiment="mine")
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    lucks = {seed: np.random.default_rng(seed).random(400) for seed in (1, 2, 3)}
    for seed, luck in lucks.items():  # below 0.6 both are right, from there to 0.7 hype_n alone
        (line,) = [line for line in lines if line[:2] == ["seed", str(seed)]]
        scores, alone = [100 * (luck < skill).mean() for skill in (0.7, 0.6)], str(((luck >= 0.6) & (luck < 0.7)).sum())
        assert line[2:5] == [f"{scores[0]:.2f}", f"{scores[1]:.2f}", f"{scores[0] - scores[1]:+.2f}"]
        assert line[5:] == [alone, "of", "400", alone, "0", "<", "0.001"]
    ever = sum(((luck >= 0.6) & (luck < 0.7)).astype(int) for luck in lucks.values())
    assert f"examples on which hype_n is right on more seeds than vanilla: {(ever > 0).sum()}; on fewer: 0" in text
    assert "the 20 that differ most are shown" in text
    assert "without minilm mrpc: not all runs of both are done" in text


def test_methods_without_what_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.7}, seeds=(1,), tasks=("rte",))
    for a, complaint in {
        "hype": "mine has no row 'hype'; there are vanilla, hype_n",
        "vanilla": "are the same row",
    }.items():
        with pytest.raises(UserError, match=complaint):
            compare(a, "vanilla", tmp_path, experiment="mine")
    (tmp_path / "runs" / "rte-hype_n-1-3" / "predictions.csv").unlink()
    with pytest.raises(typer.Exit):
        compare("hype_n", "vanilla", tmp_path, experiment="mine")
    output = capsys.readouterr()
    assert "McNemar" not in output.out
    assert output.err.startswith("error: ")
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match=r"no finished runs of the same seed in mine: python run.py -m experiment=mine"):
        compare("hype_n", "vanilla", tmp_path, experiment="mine")
