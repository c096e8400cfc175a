"""How the jobs of a sweep ended, read from notes that anything may have happened to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from hype_bench.runs.status import FAILED
from hype_bench.sweeps.outcomes import Ended, note, read

DONE = Ended("done", "m t v seed 1", "0123456789abcdef", skipped=True, found="accuracy 50.00 in 1 s")


@pytest.mark.parametrize(
    "content",
    [b"null", b"[]", b"{}", b"{", b"\xff", b"[" * 100_000, *(
        json.dumps({**asdict(DONE), name: value}).encode()
        for name, value in (("state", 1), ("skipped", "yes"), ("reason", []), ("identity", "../../evil"), ("more", 1))
    )],
)  # fmt: skip
def test_a_note_that_cannot_be_read_is_of_a_job_that_failed(tmp_path: Path, content: bytes) -> None:
    note(tmp_path, 0, DONE)
    note(tmp_path, 1, DONE)
    path = tmp_path / "job-000001.json"
    path.write_bytes(content)
    ended = read(tmp_path)
    assert ended[0] == DONE
    assert (ended[1].state, ended[1].title) == (FAILED, "job-000001")
    assert ended[1].reason.startswith(f"{path} is broken (")


def test_a_fifo_is_not_waited_for_and_other_files_are_no_notes(tmp_path: Path) -> None:
    note(tmp_path, 0, DONE)
    os.mkfifo(tmp_path / "job-000001.json")
    (tmp_path / "job-mine.json").write_text("{}")
    assert [(number, ended.state) for number, ended in read(tmp_path).items()] == [(0, "done"), (1, FAILED)]
