"""W&B mirrors a run: under the run's identity, without a network, a key, a prompt, or the power to make a run fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hype_bench.config import RunConfig
from hype_bench.tracking import tracker as tracking
from tests.composed import composed

DEMO = ("model=tiny_bert", "task=demo_rte", "training.max_steps=2", "data.max_train_examples=32")
DEMO = (*DEMO, "data.max_eval_examples=16")
LABEL = {"model": "tiny_bert", "task": "demo_rte", "method": "hype_n+vanilla", "seed": 1}


def run_config(*overrides: str) -> RunConfig:
    return composed(*DEMO, "method=[hype_n,vanilla]", *overrides)


class Session:
    """What ``wandb.init`` returns, noting what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.error = error

    def log(self, row: dict[str, float], step: int) -> None:
        if self.error:
            raise self.error
        self.logged.append((row, step))

    def finish(self, exit_code: int) -> None:
        if self.error:
            raise self.error
        self.exit_code = exit_code


def test_what_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session, told = Session(), {}

    def init(**arguments: Any) -> Session:
        told.update(arguments)
        return session

    monkeypatch.setattr("wandb.init", init)
    warnings: list[str] = []
    run = run_config(f"results_dir={tmp_path}", "experiment.name=noise", "tracker.project=mine")
    tracker = tracking.start(run, "abc123", LABEL, warnings)
    tracker.log({"update": 10.0, "loss": 0.5})
    tracker.finish({"accuracy": 0.75}, "done")
    assert (told["id"], told["resume"], told["group"], told["project"]) == ("abc123", "allow", "noise", "mine")
    assert told["tags"] == ["tiny_bert", "demo_rte", "hype_n", "vanilla"]
    assert told["job_type"] == "fine-tune"
    assert told["config"]["training"]["batch_size"] == 16
    assert told["config"]["methods"]["hype_n"]["scale"] == 1e-5
    assert told["config"]["identity"] == "abc123"
    assert Path(told["dir"]) == tmp_path
    assert session.logged == [({"update": 10.0, "loss": 0.5}, 10)]
    assert session.summary == {"accuracy": 0.75, "status": "done"}
    assert session.exit_code == 0
    assert warnings == []


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("diverged", 0), ("failed", 1)])
def test_a_crashed_run_is_marked_as_failed(monkeypatch: pytest.MonkeyPatch, status: str, code: int) -> None:
    session = Session()
    monkeypatch.setattr("wandb.init", lambda **arguments: session)
    tracking.start(run_config(), "abc", LABEL, []).finish({}, status)
    assert session.exit_code == code


def test_a_failing_wandb_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(ConnectionError("the service went away\nand more"))
    monkeypatch.setattr("wandb.init", lambda **arguments: session)
    warnings: list[str] = []
    tracker = tracking.start(run_config(), "abc", LABEL, warnings)
    for update in range(3):
        tracker.log({"update": float(update), "loss": 1.0})
    tracker.finish({}, "done")
    assert warnings == ["W&B does not take this run (the service went away)"]  # once, in one line


def test_a_wandb_that_does_not_start_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**arguments: Any) -> None:
        raise PermissionError("no right to write")

    monkeypatch.setattr("wandb.init", init)
    warnings: list[str] = []
    tracker = tracking.start(run_config(), "abc", LABEL, warnings)
    tracker.log({"update": 1.0})
    tracker.finish({}, "done")
    assert warnings == ["W&B does not take this run (no right to write)"]


@pytest.mark.parametrize(
    ("asked", "key", "reachable", "mode"),
    [
        (None, None, True, "offline"),
        (None, "0" * 40, False, "offline"),
        (None, "0" * 40, True, "online"),
        ("offline", "0" * 40, True, "offline"),
        ("disabled", None, True, "disabled"),
        ("online", None, True, "offline"),  # it would ask for the key
        ("online", "0" * 40, False, "online"),  # the user insists
    ],
)
def test_mode(monkeypatch: pytest.MonkeyPatch, asked: str | None, key: str | None, reachable: bool, mode: str) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if asked:
        monkeypatch.setenv("WANDB_MODE", asked)
    monkeypatch.setattr("wandb.login", lambda **how: key is not None and how["prompt"] is False)
    settings = SimpleNamespace(base_url="https://api.wandb.ai")  # the real setup would leave traces in this process
    monkeypatch.setattr("wandb.setup", lambda: SimpleNamespace(settings=settings))
    monkeypatch.setattr(tracking, "_reachable", lambda url: reachable and url == settings.base_url)
    tracking._mode.cache_clear()
    assert tracking._mode() == mode
    tracking._mode.cache_clear()


def test_an_offline_run_lies_under_the_results(warm: Any, tmp_path: Path) -> None:
    """A sweep of two; nothing asks (standard input is empty) and nothing is written outside ``results``."""
    ended = warm(*DEMO, "experiment.name=house", "-m", "seed=1,2", "tracker=wandb", env={"WANDB_MODE": None})
    assert "2 runs: 2 done now, 0 done before, 0 failed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "warning" not in ended.stdout
    identities = {path.parent.name for path in tmp_path.glob("results/runs/*/result.json")}
    mirrors = {path.stem.removeprefix("run-"): path for path in tmp_path.glob("results/wandb/offline-run-*/*.wandb")}
    assert set(mirrors) == identities
    for identity, path in mirrors.items():
        content = path.read_bytes()
        record = json.loads((tmp_path / "results/runs" / identity / "result.json").read_text())
        assert record["warnings"] == []
        for part in ("house", "fine-tune", "demo_rte", "batch_size", identity, "accuracy"):
            assert part.encode() in content, part
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_without_a_tracker_there_is_no_wandb(warm: Any, tmp_path: Path) -> None:
    assert warm(*DEMO, "tracker=none").returncode == 0
    assert not (tmp_path / "results/wandb").exists()
    script = "import sys, hype_bench.tracking.tracker; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_an_unwritable_wandb_folder_fails_no_run(warm: Any, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/wandb").write_text("a file where a folder should be")
    ended = warm(*DEMO, "tracker=wandb")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(("done: ", "warning: "))
    assert len(list(tmp_path.glob("results/runs/*/result.json"))) == 1
