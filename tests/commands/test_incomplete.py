"""``hype-bench clean``: it asks again under the lock, and removes what the tool made and nothing else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import typer

from hype_bench.commands import clean, incomplete, retry
from hype_bench.commands.status import status
from hype_bench.commands.table import table
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record, Request
from hype_bench.runs.status import RunStatus, read_runs
from tests.runs.records import record_of, request_of


@pytest.fixture
def interrupted(tmp_path: Path) -> RunFolder:
    folder = RunFolder.of(tmp_path, "abc")
    folder.path.mkdir(parents=True)
    folder.start(Request.from_json(request_of()))
    folder.write("predictions.csv", "split\n")
    with folder.lock():
        return folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_was_interrupted_is_shown_and_then_removed(
    interrupted: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(tmp_path)
    assert clean.remove_incomplete(tmp_path, really=False) == 0
    assert names(tmp_path) == before
    assert clean.remove_incomplete(tmp_path, really=True) == 0
    assert names(tmp_path) == {"runs"}
    assert capsys.readouterr().out.splitlines() == [
        f"would remove {interrupted.path} (interrupted: m t v seed 3)",
        "--incomplete removes them",
        f"removed {interrupted.path} (interrupted: m t v seed 3)",
    ]


def test_a_record_that_came_after_the_look_stays(
    interrupted: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def looked_before(results_dir: Path) -> list[RunStatus]:
        runs = list(read_runs(results_dir))
        interrupted.write_json("result.json", record_of())
        return runs

    monkeypatch.setattr(incomplete, "read_runs", looked_before)
    assert clean.remove_incomplete(tmp_path, really=True) == 1
    assert capsys.readouterr().out == f"kept {interrupted.path}: it has its record now\n"
    assert interrupted.result() == Record.from_json(record_of())


def test_a_run_that_was_begun_after_the_look_stays(
    interrupted: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = list(read_runs(tmp_path))
    monkeypatch.setattr(incomplete, "read_runs", lambda results_dir: runs)
    with interrupted.lock():
        assert clean.remove_incomplete(tmp_path, really=True) == 1
    assert capsys.readouterr().out == f"kept {interrupted.path}: another process is running it\n"
    assert (interrupted.path / "predictions.csv").exists()


def test_records_that_are_good_or_broken_and_what_others_put_there_stay(interrupted: RunFolder, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    stay = {
        "backup/abc/result.json": json.dumps(record_of()),
        "my notes/thesis.tex": "x",
        "broken/result.json": "{",
        "aside/result.broken-2.json": "{",
        "aside/run.json": "{}",
        "abc/notes.md": "x",
        "abc/model/mine.md": "x",
    }
    for name, text in stay.items():
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).write_text(text)
    (runs / "abc" / "link").symlink_to(runs / "my notes")
    assert clean.remove_incomplete(tmp_path, really=True) == 2
    assert {name for name in names(runs) if (runs / name).is_file() and not name.endswith("/lock")} == set(stay)
    assert not (runs / "abc" / "run.json").exists()


def test_what_cannot_be_read_now_is_told_and_left_alone(
    interrupted: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted.write_json("result.json", record_of())
    before, opened = names(tmp_path), os.open

    def refuse(path: str | Path, *rest: int, **more: int) -> int:
        if str(path).endswith("result.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert clean.remove_incomplete(tmp_path, really=True) == 1
    assert retry.run_again(tmp_path) == 1
    shown = capsys.readouterr().out
    assert shown.count(f"{interrupted.path / 'result.json'} cannot be read (Input/output error)") == 2
    for ask in (status, lambda results: table(None, results)):
        with pytest.raises(typer.Exit) as end:
            ask(tmp_path)
        assert end.value.exit_code == 1
        assert "cannot be read (Input/output error)" in "".join(capsys.readouterr())
    assert names(tmp_path) == before


def test_a_run_that_does_not_say_how_it_was_started_is_not_tried(
    interrupted: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a process is started"))
    path = interrupted.path / "run.json"
    for content, why in ((None, f"{interrupted.path} does not say how it was started"), ("{}", f"{path} is broken")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        else:
            interrupted.write("failure.txt", "why\n")
        assert retry.run_again(tmp_path) == 1
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(why)
        assert line.endswith("; run its command again")
