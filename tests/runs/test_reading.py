"""Only content can be broken; what the system refuses is told and left alone; nothing hangs."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.reading import BrokenError, UnreadableError, read_json, read_text
from hype_bench.runs.record import Record, Request
from hype_bench.runs.status import read_run, read_runs
from tests.runs.records import record_of, request_of


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))


NO_FILES: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "socket": socket_at,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", ["result.json", "run.json", "failure.txt"])
def test_what_is_no_file_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    folder = RunFolder.of(".", "abc")
    folder.path.mkdir(parents=True)
    NO_FILES[kind](folder.path / name)
    (run,) = read_runs(".")
    assert f"{folder.path / name} is broken (it is not a regular file)" in run.reason
    state = {"result.json": "broken", "run.json": "interrupted", "failure.txt": "failed"}[name]
    assert run.state == state


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b'{"a": ', "Expecting value"),
        (b'{"a": "\xf0\x28"}', "it is not UTF-8"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b"9" * 5000, "integer string"),
        (b"[]", "the content is not a mapping"),
    ],
)
def test_a_broken_record_is_told_why(tmp_path: Path, content: bytes, why: str) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(BrokenError, match=why):
        folder.result()


def test_a_file_where_the_results_folder_should_be_holds_no_record(tmp_path: Path) -> None:
    (tmp_path / "good.csv").touch()
    assert RunFolder.of(tmp_path / "good.csv", "abc").result() is None


def test_a_file_of_endless_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text("[1]")
    assert read_json(path, most=3) == [1]
    with pytest.raises(BrokenError, match="it has more than 2 bytes"):
        read_text(path, most=2)


def test_bytes_that_are_no_text_do_not_hide_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "failure.txt").write_bytes(b"\xf0\x28\x8c\x28\nValueError: why\n")
    assert read_run(RunFolder(tmp_path)).reason == "ValueError: why"


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES, errno.ETIMEDOUT])
def test_an_error_of_the_system_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    folder = RunFolder.of(tmp_path, "abc")
    folder.path.mkdir(parents=True)
    folder.start(Request.from_json(request_of()))
    folder.write_json("result.json", record_of())
    whole, opened = (folder.path / "result.json").read_text(), os.open

    def refuse(path: str | Path, *rest: int, **more: int) -> int:
        if str(path).endswith("result.json"):
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(UnreadableError, match=os.strerror(code)):
            folder.start(Request.from_json(request_of()))  # a good record would be set aside
        status = read_run(folder)
    assert (status.state, status.request) == ("unreadable", Request.from_json(request_of()))
    assert status.problem == f"{folder.path / 'result.json'} cannot be read ({os.strerror(code)}); it is left alone"
    assert (folder.path / "result.json").read_text() == whole
    assert read_run(folder).record == Record.from_json(json.loads(whole))


def test_one_folder_that_cannot_be_looked_into_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of links, and a folder of somebody who keeps it to himself: either may be a run."""
    RunFolder.of(tmp_path, "good").path.mkdir(parents=True)
    RunFolder.of(tmp_path, "good").write_json("result.json", record_of())
    (tmp_path / "runs" / "loop").symlink_to("loop")
    (tmp_path / "runs" / "theirs").mkdir()
    for name in ("listdir", "open"):
        monkeypatch.setattr(os, name, _refusing(getattr(os, name), "theirs"))
    states = {run.identity: run.state for run in read_runs(tmp_path)}
    assert states == {"good": "done", "loop": "unreadable", "theirs": "unreadable"}


def _refusing(real: Callable[..., Any], folder: str) -> Callable[..., Any]:
    def call(path: Path, *others: Any) -> Any:
        if folder in Path(path).parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *others)

    return call


def test_a_file_in_the_place_of_all_runs_is_no_empty_folder(tmp_path: Path) -> None:
    assert list(read_runs(tmp_path)) == []
    (tmp_path / "runs").write_text("")
    with pytest.raises(NotADirectoryError):
        list(read_runs(tmp_path))
