"""A run is repeated from its record alone, and what differs is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hype_bench.commands.repeat import repeat
from hype_bench.options import UserError
from tests.runs.records import record_of

RUN = (
    *("model=tiny_bert", "task=demo_rte", "method=hype_n", "tracker=none", "training.max_steps=3"),
    *("training.evaluate_every=1", "data.max_train_examples=32", "data.max_eval_examples=16"),
)


def test_every_number_comes_out_the_same_or_is_named(warm: Any, tmp_path: Path) -> None:
    assert warm(*RUN).returncode == 0
    (run,) = (tmp_path / "results" / "runs").iterdir()
    (run / "run.json").unlink()
    again = warm("repeat", run.name[:6], program="hype_bench.cli")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "every number came out the same (1 score, 4 points of the curve, and all predictions)" in again.stdout
    record = json.loads((run / "result.json").read_text())
    del record["checksum"]
    record["scores"]["accuracy"] /= 2
    point = next(point for point in record["curve"] if "loss" in point)
    point["loss"] += 1e-9
    (run / "result.json").write_text(json.dumps(record))
    (run / "predictions.csv").write_text("")
    again = warm("repeat", run.name, program="hype_bench.cli")
    assert again.returncode == 1
    assert "accuracy: " in again.stdout
    assert f"the curve differs, first at update {point['update']}" in again.stdout
    assert "predictions.csv differs" in again.stdout
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def test_what_cannot_be_repeated_is_one_line(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "aa11"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({**record_of(), "working_directory": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match="its working directory does not exist"):
        repeat("aa11", tmp_path)
    with pytest.raises(UserError, match="'bb' names none of them"):
        repeat("bb", tmp_path)
