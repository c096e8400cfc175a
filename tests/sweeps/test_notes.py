"""How the jobs of a sweep ended, read from notes that anything may have happened to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import FAILED, RUNNING
from hype_bench.sweeps import outcomes
from hype_bench.sweeps.outcomes import (
    JobResult,
    read_all_notes,
    read_notes,
    unwritten_notes,
    wait_for_others,
    write_note,
    write_traceback,
)

DONE = JobResult("done", "m t v seed 1", "0123456789abcdef", skipped=True, summary="accuracy 50.00 in 1 s")


@pytest.mark.parametrize(
    "content",
    [b"null", b"[]", b"{}", b"{", b"\xff", b"[" * 100_000, *(
        json.dumps({**asdict(DONE), name: value}).encode()
        for name, value in (("state", 1), ("skipped", "yes"), ("reason", []), ("identity", "../../evil"), ("more", 1))
    )],
)  # fmt: skip
def test_a_note_that_cannot_be_read_is_of_a_job_that_failed(tmp_path: Path, content: bytes) -> None:
    write_note(tmp_path, 0, DONE)
    write_note(tmp_path, 1, DONE)
    path = tmp_path / "job-000001.json"
    path.write_bytes(content)
    ended = read_notes(tmp_path)
    assert ended[0] == DONE
    assert (ended[1].state, ended[1].title) == (FAILED, "job-000001")
    assert ended[1].reason.startswith(f"{path} is broken (")


def test_a_link_that_leads_nowhere_hides_no_other_note(tmp_path: Path) -> None:
    write_note(tmp_path, 0, DONE)
    (tmp_path / "job-000001.json").symlink_to("nowhere")
    assert [ended.state for ended in read_notes(tmp_path).values()] == ["done", FAILED]


def test_a_fifo_is_not_waited_for_and_other_files_are_no_notes(tmp_path: Path) -> None:
    write_note(tmp_path, 0, DONE)
    os.mkfifo(tmp_path / "job-000001.json")
    (tmp_path / "job-mine.json").write_text("{}")
    assert [(number, ended.state) for number, ended in read_notes(tmp_path).items()] == [(0, "done"), (1, FAILED)]


def test_a_note_that_has_gone_is_of_a_job_that_failed(tmp_path: Path) -> None:
    for job in range(3):
        write_note(tmp_path, job, DONE)
    (tmp_path / "job-000001.json").unlink()
    ended = read_all_notes(tmp_path, 3)
    assert [job.state for job in ended] == ["done", FAILED, "done"]
    assert ended[1].title == "job 1"
    assert read_all_notes(tmp_path, 4)[3].state == FAILED


def test_a_note_for_which_there_is_no_room_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outcomes, "write_atomically", full)
    monkeypatch.setattr(outcomes, "_UNWRITTEN", {})
    trace = write_traceback(tmp_path, 0, ValueError("x"))
    write_note(tmp_path, 0, DONE)
    assert read_all_notes(tmp_path, 1) == [DONE]
    (why,) = unwritten_notes(tmp_path).values()
    assert why == f"the results folder cannot be written to: No space left on device: {tmp_path / 'job-000000.json'}"
    assert trace.startswith("not written: the results folder cannot be written to")
    assert unwritten_notes(tmp_path / "other") == {}


HOLD = """
import sys
from pathlib import Path
from hype_bench.runs.folder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("is_stopped", [True, False])
def test_who_is_waited_for_is_named_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    monkeypatch.setattr(outcomes, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(outcomes, "_PATIENCE", 60.0 if is_stopped else 0.0)
    folder = RunFolder.of(tmp_path, DONE.identity)
    command, messages = [sys.executable, "-c", HOLD, str(folder.path)], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            if is_stopped:
                other.send_signal(signal.SIGSTOP)
            busy = JobResult(RUNNING, DONE.title, DONE.identity)
            ended = wait_for_others([busy, DONE, busy], tmp_path, messages.append)
        finally:
            other.kill()
    who = f"process {other.pid} on {socket.gethostname()}"
    assert messages == [f"waiting for {who}, which runs m t v seed 1"]
    why = f"holds it and is stopped; kill -CONT {other.pid} lets it go on" if is_stopped else "still holds it"
    assert [(job.state, job.reason) for job in ended] == [
        (RUNNING, f"{who} {why}"),
        ("done", ""),
        (RUNNING, f"{who} {why}"),
    ]
