"""W&B mirrors a run: under the run's identity, without a network, a key, a prompt, or the power to make a run fail."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hype_bench.config import RunConfig
from hype_bench.runs.record import Label
from hype_bench.testing.composed import composed
from hype_bench.tracking import tracker as tracking
from hype_bench.tracking.mode import Mode, _answers

DEMO: tuple[str, ...] = ("model=tiny_bert", "task=demo_rte", "training.max_steps=2", "data.max_train_examples=32")
DEMO = (*DEMO, "data.max_eval_examples=16")
LABEL = Label("tiny_bert", "demo_rte", "hype_n+vanilla", 1, "accuracy")


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
    session, settings = Session(), {}

    def init(**arguments: Any) -> Session:
        settings.update(arguments)
        return session

    monkeypatch.setattr("wandb.init", init)
    warnings: list[str] = []
    run = run_config(f"results_dir={tmp_path}", "experiment.name=noise", "tracker.project=mine")
    tracker = tracking.start(run, "abc123", LABEL, warnings)
    tracker.log({"update": 10.0, "loss": 0.5})
    tracker.log({"update": 10.0, "accuracy": 0.7})
    tracker.finish({"eval/accuracy": 0.75}, "done")
    assert (settings["id"], settings["resume"], settings["group"], settings["project"]) == (
        "abc123",
        "allow",
        "noise",
        "mine",
    )
    assert settings["tags"] == ["tiny_bert", "demo_rte", "hype_n", "vanilla"]
    assert settings["job_type"] == "fine-tune"
    assert settings["config"]["training"]["batch_size"] == 16
    assert settings["config"]["methods"]["hype_n"]["scale"] == 1e-5
    assert settings["config"]["identity"] == "abc123"
    assert Path(settings["dir"]) == tmp_path
    assert session.logged == [({"update": 10.0, "train/loss": 0.5}, 10), ({"update": 10.0, "eval/accuracy": 0.7}, 10)]
    assert session.summary == {"eval/accuracy": 0.75, "status": "done"}
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
    assert warnings == ["W&B does not accept this run (the service went away)"]  # once, in one line


def test_a_wandb_that_does_not_start_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**arguments: Any) -> None:
        raise PermissionError("no right to write")

    monkeypatch.setattr("wandb.init", init)
    warnings: list[str] = []
    tracker = tracking.start(run_config(), "abc", LABEL, warnings)
    tracker.log({"update": 1.0})
    tracker.finish({}, "done")
    assert warnings == ["W&B does not accept this run (no right to write)"]


def test_a_wandb_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the runs that follow: none of them waits again."""
    answer, killed = threading.Event(), []
    session = Session()
    monkeypatch.setattr("wandb.init", lambda **arguments: session)
    monkeypatch.setattr(session, "finish", lambda exit_code: answer.wait())
    monkeypatch.setattr(tracking, "_PATIENCE", 0.1)
    monkeypatch.setattr(tracking, "_given_up", [])
    monkeypatch.setattr(tracking, "_kill_helper", lambda: killed.append(True))
    warnings: list[str] = []
    tracker = tracking.start(run_config(), "abc", LABEL, warnings)
    tracker.finish({}, "done")
    answer.set()
    assert (len(warnings), killed) == (1, [True])
    assert warnings[0].startswith("W&B did not answer within 0 s")
    later: list[str] = []
    assert isinstance(tracking.start(run_config(), "def", LABEL, later), tracking.NoTracker)
    assert later == warnings


STOPPED_HELPER = """
import os, signal, subprocess, sys
from hype_bench.runs.record import Label
from hype_bench.testing.composed import composed
from hype_bench.tracking import tracker
run = composed("model=tiny_bert", "task=demo_rte", "results_dir=results")
tracker._PATIENCE, warnings = 15.0, []
started = tracker.start(run, "abc", Label("tiny_bert", "demo_rte", "vanilla", 1, "accuracy"), warnings)
tracker._PATIENCE = 1.0
helper = int(subprocess.run(["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True).stdout)
os.kill(helper, signal.SIGSTOP)
signal.alarm(30)
if "finish" in sys.argv:
    started.finish({}, "done")
print(warnings)
"""


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="there is no pgrep")
@pytest.mark.parametrize("when", ["finish", "exit"])
def test_a_stopped_helper_process_holds_nobody_up(warm: Any, tmp_path: Path, when: str) -> None:
    (tmp_path / "script.py").write_text(STOPPED_HELPER)
    ended = warm(when, program=str(tmp_path / "script.py"))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.count("did not answer") == (when == "finish")


@pytest.mark.parametrize(
    ("asked", "key", "answers", "mode", "warning"),
    [
        (None, None, True, "offline", ""),
        (None, "0" * 40, False, "offline", ""),
        (None, "0" * 40, True, "online", ""),
        ("offline", "0" * 40, True, "offline", ""),
        ("disabled", None, True, "disabled", ""),
        ("online", None, True, "offline", "there is no key"),  # it would ask for the key
        ("online", "0" * 40, False, "offline", "no server answers at https://api.wandb.ai"),
        ("online", "0" * 40, True, "online", ""),
    ],
)
def test_mode(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, key: str | None, answers: bool, mode: str, warning: str
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if asked:
        monkeypatch.setenv("WANDB_MODE", asked)
    monkeypatch.setattr("wandb.login", lambda **how: key is not None and how["prompt"] is False)
    settings = SimpleNamespace(base_url="https://api.wandb.ai")  # the real setup would leave traces in this process
    monkeypatch.setattr("wandb.setup", lambda: SimpleNamespace(settings=settings))
    monkeypatch.setattr("hype_bench.tracking.mode._answers", lambda url: answers and url == settings.base_url)
    tracker_mode = Mode()
    assert tracker_mode.resolve() == mode
    assert warning in tracker_mode.warning
    assert bool(warning) == (asked == "online" != mode)


def test_a_server_that_takes_no_runs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def init(**arguments: Any) -> Session:
        asked.append(arguments["mode"])
        if arguments["mode"] == "online":
            raise TimeoutError("no answer")
        return Session()

    online = Mode()
    online.name = "online"
    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setattr(tracking, "_MODE", online)
    monkeypatch.setattr(tracking, "_warned", set())
    warnings: list[str] = []
    for identity in ("abc", "def"):
        tracking.start(run_config(), identity, LABEL, warnings).finish({}, "done")
    assert asked == ["online", "offline", "offline"]
    assert warnings == ["W&B is offline (no answer); wandb sync sends its runs later"]


def test_what_answers() -> None:
    def serve(answer: bytes) -> None:
        with server.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(answer)

    for answer, is_one in ((b"HTTP/1.0 404 Not Found\r\n\r\n", True), (b"", False)):
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=serve, args=[answer], daemon=True).start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            assert _answers(url) == is_one
        assert not _answers(url)  # nobody listens any more
    assert not _answers("no address")


def logged(mirror: Path) -> bytes:
    """What an offline run holds, without the headers of its blocks (LevelDB's), which may cut a word."""
    content, block = mirror.read_bytes(), 2**15
    return b"".join(content[start + 7 : start + block] for start in range(0, len(content), block))


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
        content = logged(path)
        record = json.loads((tmp_path / "results/runs" / identity / "result.json").read_text())
        assert record["warnings"] == []
        for part in ("house", "fine-tune", "demo_rte", "batch_size", identity, "accuracy"):
            assert part.encode() in content, part
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_model_and_predictions_are_in_the_offline_run(warm: Any, tmp_path: Path) -> None:
    ended = warm(*DEMO, "tracker=wandb", "training.save=last", env={"WANDB_MODE": None})
    assert (ended.returncode, ended.stderr) == (0, "")
    (result,) = tmp_path.glob("results/runs/*/result.json")
    (mirror,) = tmp_path.glob("results/wandb/offline-run-*")
    content = logged(mirror / f"run-{result.parent.name}.wandb")
    for part in (f"run-{result.parent.name}", "model/model.safetensors", "predictions.csv"):
        assert part.encode() in content, part
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_an_interrupted_run_is_not_left_to_be_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And nothing else is removed; what a killed one left goes when the run is started again."""
    names = {"offline-run-20260101_000000-abc": "abc", "offline-run-20260101_000000-zabc": "zabc", "run-1_1-abc": "abc"}
    for name in names:
        (tmp_path / "wandb" / name).mkdir(parents=True)
    tracking.WandbTracker(Session(), [], tmp_path / "runs" / "abc").finish({}, "failed")
    assert {path.name for path in (tmp_path / "wandb").iterdir()} == names.keys() - {"offline-run-20260101_000000-abc"}
    tracking.WandbTracker(Session(), [], tmp_path / "runs" / "zabc").finish({"reason": "why"}, "failed")
    assert "offline-run-20260101_000000-zabc" in {path.name for path in (tmp_path / "wandb").iterdir()}
    monkeypatch.setattr("wandb.init", lambda **about: Session())
    tracking.start(run_config(f"results_dir={tmp_path}"), "zabc", LABEL, [])
    assert {path.name for path in (tmp_path / "wandb").iterdir()} == {"run-1_1-abc"}


@pytest.mark.parametrize("system", [False, True])
def test_the_load_of_the_machine_is_tracked_on_request(monkeypatch: pytest.MonkeyPatch, system: bool) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("wandb.init", lambda **about: asked.append(not about["settings"].x_disable_stats) or Session())
    tracking.start(run_config(f"tracker.system={system}"), "abc", LABEL, [])
    assert asked == [system]


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
