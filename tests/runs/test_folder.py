"""A run's folder: whole files or none, one process at a time, every state told apart."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hype_bench.config import UserError
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.identity import digest
from hype_bench.runs.record import Record, Request
from hype_bench.runs.status import read_run, read_runs
from hype_bench.runs.writing import write_atomically
from tests.runs.records import record_of, request_of

REQUEST, RECORD = request_of(), record_of()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.of(tmp_path, "abc")
    folder.path.mkdir(parents=True)
    return folder


@pytest.fixture
def elsewhere(folder: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run."""
    script = f"""
import sys
from pathlib import Path
from hype_bench.runs.folder import RunFolder
with RunFolder(Path({str(folder.path)!r})).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_no_number_is_lost(folder: RunFolder) -> None:
    """JSON has no NaN and no infinity; they are text, and ``float`` reads them back."""
    curve = [{"update": 1, "loss": math.nan}, {"update": 2, "loss": math.inf}]
    scores = {"pearson": math.nan, "matthews": -1 / 3, "accuracy": 5e-324}
    folder.write_record(Record.from_json({**RECORD, "scores": scores, "curve": curve}))
    text = (folder.path / "result.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    record = folder.result()
    assert record is not None
    read = dict(record.scores.first)
    assert math.isnan(read.pop("pearson"))
    assert read == {"matthews": -1 / 3, "accuracy": 5e-324}
    assert math.isnan(float(record.curve[0]["loss"]))
    assert float(record.curve[1]["loss"]) == math.inf


def test_a_file_is_whole_or_not_there(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.path / "result.json"
    write_atomically(path, "old")

    def power_cut(handle: int) -> None:
        assert path.read_text() == "old"  # nobody sees the new one before it is whole
        raise OSError("power cut")

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        write_atomically(path, "new")
    assert [entry.name for entry in folder.path.iterdir()] == ["result.json"]
    assert path.read_text() == "old"
    with pytest.raises(UserError, match="the results folder cannot be written to: power cut"):
        folder.write("result.json", "new")


def test_a_record_that_cannot_be_written_leaves_no_file(folder: RunFolder) -> None:
    with pytest.raises(TypeError):
        folder.write_json("result.json", {"scores": object()})
    assert list(folder.path.iterdir()) == []


def test_one_process_at_a_time(folder: RunFolder, elsewhere: subprocess.Popen[str]) -> None:
    assert folder.is_busy()
    with pytest.raises(BusyError), folder.lock():
        pytest.fail("two processes are at one run")
    assert read_run(folder).state == "running"
    elsewhere.kill()
    elsewhere.wait()
    assert not folder.is_busy()  # the system released it
    with folder.lock():
        assert (folder.path / "lock").exists()


def test_whoever_asks_does_not_stop_the_one_who_starts(folder: RunFolder) -> None:
    """``status`` holds the lock for an instant; a sweep that starts the run then must not take it for busy."""
    script = f"""
from pathlib import Path
from hype_bench.runs.folder import RunFolder
folder = RunFolder(Path({str(folder.path)!r}))
print("asking", flush=True)
while True:
    folder.is_busy()
"""
    with folder.lock():
        pass
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(20):
            with folder.lock():
                pass
        process.kill()


def test_a_run_that_ends_while_it_is_asked_for_is_done(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look for the record and the look at the lock the run may end: it was not interrupted."""

    def ends_now(self: RunFolder) -> bool:
        folder.write_json("result.json", RECORD)
        return False

    monkeypatch.setattr(RunFolder, "is_busy", ends_now)
    assert read_run(folder).state == "done"


def test_every_state_is_told_apart(tmp_path: Path) -> None:
    names = ("done", "diverged", "failed", "interrupted", "broken", "hardly_began", "failed_silently")
    folders = {name: RunFolder.of(tmp_path, name) for name in names}
    for name, folder in folders.items():
        folder.path.mkdir(parents=True)
        if name != "hardly_began":
            folder.start(Request.from_json(REQUEST))
    (folders["hardly_began"].path / "lock").touch()
    folders["done"].write_json("result.json", RECORD)
    folders["diverged"].write_json("result.json", {**RECORD, "status": "diverged", "reason": "no number"})
    folders["failed"].write("failure.txt", "Traceback\n  here\nRuntimeError: a cosmic ray\n")
    folders["failed_silently"].write("failure.txt", "")
    (folders["broken"].path / "result.json").write_text("{")
    (tmp_path / "runs" / "a file.txt").write_text("not a run")
    (tmp_path / "runs" / "my notes").mkdir()
    (tmp_path / "runs" / "my notes" / "thesis.tex").write_text("not a run either")
    runs = {run.identity: run for run in read_runs(tmp_path)}
    assert {name: run.state for name, run in runs.items()} == {
        "done": "done",
        "diverged": "diverged",
        "failed": "failed",
        "interrupted": "interrupted",
        "broken": "broken",
        "hardly_began": "interrupted",
        "failed_silently": "failed",
    }
    assert runs["failed"].reason == "RuntimeError: a cosmic ray"
    assert runs["diverged"].reason == "no number"
    assert "result.json is broken" in runs["broken"].reason
    assert runs["interrupted"].title == "m t v seed 3"
    assert runs["hardly_began"].title == "hardly_began"
    assert list(read_runs(tmp_path / "nowhere")) == []


def test_beginning_again_forgets_the_failure_and_keeps_what_is_broken(folder: RunFolder) -> None:
    folder.write("failure.txt", "old")
    for number, garbage in enumerate(("one", "two", "three"), 1):
        (folder.path / "result.json").write_text(garbage)
        name = "result.broken.json" if number == 1 else f"result.broken-{number}.json"
        warning = folder.start(Request.from_json(REQUEST))
        assert warning is not None
        assert name in warning
        assert (folder.path / name).read_text() == garbage
    assert folder.start(Request.from_json(REQUEST)) is None
    assert folder.failure() is None
    assert folder.request() == Request.from_json(REQUEST)
    assert not (folder.path / "result.json").exists()


def test_beginning_again_removes_what_a_killed_attempt_left_and_nothing_else(folder: RunFolder) -> None:
    ours = ("failure.txt", "predictions.csv", "test.csv", ".result.json.ab12cd34", ".predictions.csv.x_1y2z3w")
    theirs = ("notes.txt", ".result.json", ".notes.json.ab12cd34", "result.broken.json", "lock")
    for name in (*ours, *theirs):
        (folder.path / name).write_text(name)
    model = folder.path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "mine.md"):
        (model / name).write_text(name)
    folder.start(Request.from_json(REQUEST))
    assert sorted(path.name for path in folder.path.iterdir()) == sorted((*theirs, "run.json", "model"))
    assert [path.name for path in model.iterdir()] == ["mine.md"]


def test_the_weights_of_a_run_whose_record_is_broken_stay(folder: RunFolder) -> None:
    (folder.path / "model").mkdir()
    for name in ("predictions.csv", "model/model.safetensors", "result.json", ".run.json.ab12cd34"):
        (folder.path / name).write_text(name)
    assert folder.start(Request.from_json(REQUEST))
    files = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*")}
    assert files == {"predictions.csv", "model", "model/model.safetensors", "result.broken.json", "run.json"}


def test_links_are_neither_written_through_nor_followed_when_removing(folder: RunFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("run.json", "config.json", "weights"):
        (elsewhere / name).write_text("precious")
    (folder.path / "run.json").symlink_to(elsewhere / "run.json")
    (folder.path / "model").symlink_to(elsewhere)
    folder.start(Request.from_json(REQUEST))
    folder.write_json("result.json", RECORD)
    assert not (folder.path / "model").exists()
    (folder.path / "model").mkdir()
    (folder.path / "model" / "model.safetensors").symlink_to(elsewhere / "weights")
    folder.remove()
    RunFolder.of(tmp_path, "link").path.symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a symbolic link"), RunFolder.of(tmp_path, "link").lock():
        pytest.fail("the run is written somewhere else")
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == dict.fromkeys(
        ("run.json", "config.json", "weights"), "precious"
    )


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_are_as_readable_as_the_user_wants_new_files_to_be(folder: RunFolder, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder.start(Request.from_json(REQUEST))
        (folder.path / "model").mkdir()
        with (folder.path / "model" / "model.safetensors").open("wb") as stream:
            os.fchmod(stream.fileno(), 0o600)  # as safetensors has it
        folder.share_model()
        folder.write_json("result.json", RECORD)
    finally:
        os.umask(before)
    for name in ("run.json", "result.json", "model/model.safetensors"):
        assert (folder.path / name).stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("identity", ["../../evil", "/tmp/evil", "..", "", "a\0b", "a\nb", "\ud800"])
def test_an_identity_names_a_folder_in_the_results_folder(tmp_path: Path, identity: str) -> None:
    with pytest.raises(UserError, match="is not the name of a file"):
        RunFolder.of(tmp_path, identity)


def test_the_identity_is_the_same_everywhere() -> None:
    """The value is fixed: a change of it would orphan every record that users have."""
    parts: dict[str, Any] = {"seed": 1, "training": {"learning_rate": 2e-5, "max_steps": None}, "methods": [["v", {}]]}
    assert digest(parts) == digest(dict(reversed(parts.items()))) == "ab982580c0e6acc5"
    assert digest({**parts, "seed": 2}) != digest(parts)
