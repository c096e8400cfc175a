"""Two runs beside one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hype_bench.commands.compare import compare
from hype_bench.options import UserError
from hype_bench.tables.two_runs import changes, find_run
from tests.runs.records import record_of

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
