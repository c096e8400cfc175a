"""Trackio mirrors a run in a file of the results folder; a repeated run is one run there."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hype_bench.config import UserError
from hype_bench.runs.record import Label
from hype_bench.testing.composed import composed
from hype_bench.tracking import tracker as tracking

DEMO = ("model=tiny_bert", "task=demo_rte", "training.max_steps=2", "data.max_train_examples=32")
DEMO = (*DEMO, "data.max_eval_examples=16", "tracker=trackio")  # type: ignore[assignment]


def test_a_run_is_mirrored_in_the_results_folder(warm: Any, tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="the extra [trackio] is not installed")
    for _ in range(2):
        ended = warm(*DEMO)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert len(ended.stdout.splitlines()) == 1  # none of its own
        (result,) = tmp_path.glob("results/runs/*/result.json")
        record = json.loads(result.read_text())
        result.unlink()
    with closing(sqlite3.connect(tmp_path / "results/trackio/hype_bench.db")) as database:
        rows = database.execute("select run_name, step, metrics from metrics").fetchall()
        (config,) = database.execute("select config from configs").fetchone()
    assert {name for name, *_ in rows} == {f"tiny_bert demo_rte vanilla seed 1 ({result.parent.name[:8]})"}
    told: dict[str, Any] = {key: value for *_, text in rows for key, value in json.loads(text).items()}
    assert told["eval/accuracy"] == record["scores"]["accuracy"]
    assert (told["status"], told["train/loss"] > 0) == ("done", True)
    assert json.loads(config)["identity"] == result.parent.name
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_a_trackio_that_does_not_start_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def init(**about: Any) -> None:
        raise PermissionError("no right to write")

    monkeypatch.setattr("hype_bench.config.find_spec", lambda name: name)
    monkeypatch.setattr("hype_bench.tracking.on_trackio.import_module", lambda name: SimpleNamespace(init=init))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    warnings: list[str] = []
    label = Label("tiny_bert", "demo_rte", "vanilla", 1, "accuracy")
    tracking.start(composed(*DEMO), "abc", label, warnings).log({"update": 1.0})
    assert warnings == ["Trackio does not accept this run (no right to write)"]


def test_it_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hype_bench.config.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'hype-bench\[trackio\]'"):
        composed(*DEMO, "seed=7")  # composed anew


def test_errors_are_an_option_of_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hype_bench.config.find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"tracker\.errors is an option of tracker=wandb"):
        composed(*DEMO, "tracker.errors=true")
