"""The index of records: never another answer than the records themselves, and hardly a file opened."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hype_bench.runs import index
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.index import KEPT
from hype_bench.runs.status import RunStatus, read_named, read_runs

OLD = 60.0  # seconds: what is that old has settled
SCORES = ({"accuracy": 0.5}, {"matthews": "nan"}, {"accuracy": 1 / 3, "validation_mismatched/accuracy": 5e-324})


def record_of(seed: int, score: float = 0.5, **more: Any) -> dict[str, Any]:
    method = f"method_{seed % 3}"
    return {
        "status": "done",
        "reason": "",
        "label": {"model": "m", "task": "tâche", "method": method, "seed": seed, "metric": "accuracy"},
        "parts": {"format": 2, "methods": [[method, {"scale": 1e-5}]], "training": {"epochs": 3.0}, "seed": seed},
        "config": {"data": {"max_train_examples": None}, "task": {"labels": ["yes", "no"]}, "seed": seed},
        "scores": {"accuracy": score},
        "curve": [{"update": 10, "loss": 0.5}] * 20,
        "facts": {"trained_parameters": 7},
        "updates": 126,
        "seconds": {"train": 15.131649625999671, "evaluate": 0.1},
        "machine": {"device": "cpu"},
        "warnings": [],
    } | more


def write(results: Path, name: str, record: Any, age: float = OLD) -> Path:
    folder = RunFolder.of(results, name)
    folder.path.mkdir(parents=True, exist_ok=True)
    path = folder.path / "result.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record, indent=1))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def answer(results: Path) -> list[RunStatus]:
    return list(read_runs(results))


def without_index(results: Path) -> list[RunStatus]:
    """What the records say, read from a copy that never had an index."""
    copy = results.parent / f"copy of {results.name}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(results / "runs", copy / "runs", symlinks=True)
    shutil.rmtree(results.parent / "aside", ignore_errors=True)
    results.rename(results.parent / "aside")
    copy.rename(results)
    (results / "index.sqlite").mkdir()  # so that none can be made either
    found = answer(results)
    shutil.rmtree(results)
    (results.parent / "aside").rename(results)
    return found


def stored(results: Path) -> set[str]:
    with sqlite3.connect(f"file:{results / 'index.sqlite'}?mode=ro", uri=True) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM runs")}
    connection.close()
    return names


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty records and an index that is made of any number."""
    monkeypatch.setattr(index, "_WORTH", 1)
    monkeypatch.setattr(index, "_PATIENCE", 0.05)
    for seed in range(20):
        write(tmp_path / "results", f"{seed:02}", record_of(seed, scores=SCORES[seed % 3]))
    return tmp_path / "results"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the records that are opened from now on."""
    names: list[str] = []
    whole = RunFolder.result

    def result(self: RunFolder) -> dict[str, Any] | None:
        names.append(self.path.name)
        return whole(self)

    monkeypatch.setattr(RunFolder, "result", result)
    return names


# --- the same answer --------------------------------------------------------------------------------------------------


def test_the_answer_is_the_same_with_and_without_an_index(results: Path) -> None:
    write(results, "diverged", record_of(1, status="diverged", reason="no number"))
    write(results, "a soup", {key: value for key, value in record_of(0).items() if key not in ("machine", "updates")})
    needed = ("status", "label", "parts", "config", "scores")
    write(results, "little", {key: value for key, value in record_of(4).items() if key in needed})
    write(results, "odd", {"status": "done", "label": None, "parts": [1], "config": "", "scores": {}})
    write(
        results,
        "large",
        record_of(2**32 - 1, score=1e-300, notes={"text": '"\\\n\ud83d', "nothing": None, "list": [[]]}),
    )
    write(results, "broken", "{half a rec")
    write(results, "empty", "")
    write(results, "list", "[]")
    RunFolder.of(results, "failed").path.mkdir()
    RunFolder.of(results, "failed").write("failure.txt", "Traceback\nRuntimeError: why\n")
    RunFolder.of(results, "hardly began").path.mkdir()
    (results / "runs" / "hardly began" / "lock").touch()
    (results / "runs" / "a file").write_text("")
    (results / "runs" / "elsewhere").symlink_to(results / "runs" / "03")
    expected = without_index(results)
    assert [run.identity for run in expected] == sorted(run.identity for run in expected)
    assert len(expected) == 31
    first, second = answer(results), answer(results)
    assert stored(results) == {run.identity for run in expected if run.record} - {"odd"}
    assert first == second == expected


def test_a_record_has_what_tables_read(results: Path) -> None:
    for _ in range(2):
        (run, *_) = answer(results)
        whole = RunFolder(run.path).result()
        assert whole is not None
        assert {"curve", "facts"} <= whole.keys() - set(KEPT)
        for part in ("parts", "config"):
            assert whole[part].pop("seed") == whole["label"]["seed"]
        assert run.record == {key: value for key, value in whole.items() if key in KEPT}


def test_runs_of_one_cell_share_what_they_agree_in(results: Path) -> None:
    for _ in range(2):
        first, second = (run.record for run in answer(results) if run.identity in ("00", "03"))
        assert first is not None
        assert second is not None
        assert first["parts"] is second["parts"]
        assert first["config"] is second["config"]
        assert (first["label"]["seed"], second["label"]["seed"]) == (0, 3)


def test_names_are_answered_in_their_order_and_only_if_they_have_begun(results: Path) -> None:
    for _ in range(2):
        found = [run.identity for run in read_named(results, ["07", "nobody", "03", "05"])]
        assert found == ["07", "03", "05"]
    assert stored(results) == {"03", "05", "07"}


def test_whoever_stops_half_way_leaves_a_whole_index(results: Path) -> None:
    runs = read_runs(results)
    next(runs)
    runs.close()  # type: ignore[attr-defined]
    assert stored(results) <= {"00"}
    assert len(answer(results)) == 20
    assert len(stored(results)) == 20


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_an_index_is_as_private_as_records(results: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        answer(results)
    finally:
        os.umask(before)
    assert (results / "index.sqlite").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_name_that_is_no_text_is_read_and_not_stored(results: Path) -> None:
    write(results, os.fsdecode(b"\xff"), record_of(30))
    for _ in range(2):
        assert len(answer(results)) == 21
    assert len(stored(results)) == 20


# --- what is new, changed, gone ---------------------------------------------------------------------------------------


def test_two_thousand_records_are_opened_once(tmp_path: Path, opened: list[str]) -> None:
    for seed in range(2000):
        write(tmp_path, f"{seed:04}", record_of(seed))
    first = answer(tmp_path)
    assert len(opened) == 2000
    opened.clear()
    assert answer(tmp_path) == first
    assert opened == []


def test_a_few_records_are_not_worth_an_index(tmp_path: Path) -> None:
    for seed in range(20):
        write(tmp_path, f"{seed:02}", record_of(seed))
    answer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_only_what_is_new_or_changed_is_opened(results: Path, opened: list[str]) -> None:
    answer(results)
    opened.clear()
    write(results, "20", record_of(20))
    write(results, "05", record_of(5, score=0.75), age=OLD / 2)  # of the same size
    write(results, "06", record_of(6, score=0.123456789))
    shutil.rmtree(results / "runs" / "07")
    found = {run.identity: run.record for run in answer(results)}
    assert sorted(opened) == ["05", "06", "20"]
    assert sorted(found) == [f"{seed:02}" for seed in range(21) if seed != 7]
    assert [(found[name] or {})["scores"]["accuracy"] for name in ("05", "06", "20")] == [0.75, 0.123456789, 0.5]
    opened.clear()
    assert {run.identity: run.record for run in answer(results)} == found
    assert opened == []


def test_a_record_that_becomes_broken_or_is_removed_counts_no_more(results: Path) -> None:
    answer(results)
    write(results, "03", "{", age=OLD / 2)
    (results / "runs" / "04" / "result.json").unlink()
    (results / "runs" / "05" / "result.json").unlink()
    (results / "runs" / "05" / "run.json").write_text("{}")
    states = {run.identity: run.state for run in answer(results) if run.state != "done"}
    assert states == {"03": "broken", "05": "interrupted"}
    assert "04" not in {run.identity for run in answer(results)}


def test_what_is_too_young_is_not_stored(results: Path) -> None:
    """Or a second change within the resolution of the clock, to text of the same size, would never be seen."""
    young = write(results, "05", record_of(5, score=0.25), age=0)
    answer(results)
    assert stored(results) == {f"{seed:02}" for seed in range(20) if seed != 5}
    stamp = young.stat().st_mtime_ns
    young.write_text(young.read_text().replace("0.25", "0.75"))
    os.utime(young, ns=(stamp, stamp))
    (found,) = (run for run in answer(results) if run.identity == "05")
    assert found.record is not None
    assert found.record["scores"] == {"accuracy": 0.75}


# --- what may be wrong with an index ----------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all " * 500)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def scribbled(path: Path) -> None:
    """Every page but the first is overwritten."""
    path.write_bytes(path.read_bytes()[:4096] + b"\x55" * (path.stat().st_size - 4096))


def said(*statements: str) -> Callable[[Path], None]:
    def say(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return say


DAMAGES = {
    "garbage": garbage,
    "nothing": nothing,
    "cut": cut,
    "scribbled": scribbled,
    "an older layout": said("PRAGMA user_version = 0", "ALTER TABLE runs RENAME COLUMN own TO rest"),
    "other tables": said("DROP TABLE runs", "CREATE TABLE runs (name TEXT)"),
    "no texts": said("DELETE FROM texts"),
    "no table of texts": said("DROP TABLE texts"),
    "half a text": said("UPDATE texts SET text = substr(text, 1, 20)"),
    "other words": said("UPDATE texts SET text = replace(text, 'method', 'Method')"),
    "half a record": said("UPDATE runs SET own = substr(own, 1, 20)"),
    "too little": said("UPDATE runs SET own = '[1, 2, 3]'"),
    "too much": said("UPDATE runs SET own = '[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]'"),
    "something else": said("UPDATE runs SET own = '{}'", "UPDATE texts SET text = '[]'"),
    "bytes": said("UPDATE runs SET own = x'ff00ff'"),
    "nulls": said("UPDATE runs SET own = NULL, about = NULL"),
    "another score": said("UPDATE runs SET own = replace(own, '0.5', '0.9')"),
    "the values of another run": said("UPDATE runs SET own = (SELECT own FROM runs WHERE name = '03')"),
    "the settings of another run": said("UPDATE runs SET about = (SELECT about FROM runs WHERE name = '04')"),
    "no digests": said("UPDATE runs SET digest = NULL"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(results: Path, damage: str, opened: list[str]) -> None:
    expected = answer(results)
    DAMAGES[damage](results / "index.sqlite")
    assert answer(results) == expected
    answer(results)  # what has no tables yet is filled now
    opened.clear()
    assert answer(results) == expected
    assert opened == []
    assert {path.name for path in results.iterdir()} <= {"runs", "index.sqlite", "index.sqlite.lock"}


@pytest.mark.parametrize("name", ["index.sqlite", "index.sqlite.lock", "index.sqlite-journal"])
def test_an_index_that_cannot_be_made_is_done_without(results: Path, name: str, opened: list[str]) -> None:
    (results / name).mkdir()
    first = answer(results)
    opened.clear()
    assert answer(results) == first
    assert len(first) == len(opened) == 20


@pytest.mark.parametrize("name", ["index.sqlite", "index.sqlite.lock", "index.sqlite-journal", "index.sqlite-wal"])
def test_a_fifo_in_the_place_of_an_index_is_not_waited_for(results: Path, name: str) -> None:
    expected = answer(results)
    (results / name).unlink(missing_ok=True)
    os.mkfifo(results / name)
    assert answer(results) == expected


def test_a_link_in_the_place_of_an_index_is_not_written_through(results: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (results / "index.sqlite").symlink_to(tmp_path / "precious")
    assert len(answer(results)) == 20
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_locked_index_is_left_alone(results: Path, opened: list[str]) -> None:
    expected = answer(results)
    before = (results / "index.sqlite").read_bytes()
    other = sqlite3.connect(results / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert answer(results) == expected
    other.execute("ROLLBACK")
    other.close()
    assert (results / "index.sqlite").read_bytes() == before
    opened.clear()
    assert answer(results) == expected
    assert opened == []


def test_what_a_killed_writer_left_half_done_is_undone(results: Path, opened: list[str]) -> None:
    expected = answer(results)
    script = f"""
import os, signal, sqlite3
writer = sqlite3.connect({str(results / "index.sqlite")!r}, isolation_level=None)
writer.execute("PRAGMA cache_size = 1")  # so that the half-done work reaches the file
writer.execute("BEGIN EXCLUSIVE")
writer.execute("UPDATE runs SET own = printf('[]%8000s', '')")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert (results / "index.sqlite-journal").stat().st_size
    assert answer(results) == expected
    opened.clear()
    assert answer(results) == expected
    assert opened == []


@pytest.fixture
def disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("256k")


@pytest.mark.parametrize("indexed", [False, True])
def test_a_read_only_folder(disk: Path, indexed: bool, monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    monkeypatch.setattr(index, "_WORTH", 1)
    for seed in range(9):
        write(disk, str(seed), record_of(seed))
    if indexed:
        answer(disk)
        write(disk, "3", record_of(3, score=0.25), age=OLD / 2)
    opened.clear()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    scores = [(run.record or {})["scores"]["accuracy"] for run in answer(disk)]
    assert scores == ([0.5] * 3 + [0.25] + [0.5] * 5 if indexed else [0.5] * 9)
    assert len(opened) == (1 if indexed else 9)


def test_a_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    monkeypatch.setattr(index, "_WORTH", 1)
    for seed in range(9):
        write(disk, str(seed), record_of(seed))
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    expected = answer(disk)
    assert [run.state for run in expected] == ["done"] * 9
    filler.unlink()
    assert answer(disk) == expected
    opened.clear()
    assert answer(disk) == expected
    assert opened == []


def test_two_processes_at_once(results: Path) -> None:
    """Both fill and read it, while a third hand deletes it, as anyone may."""
    expected = {run.identity: run.record for run in without_index(results)}
    script = f"""
import json
from pathlib import Path
from hype_bench.runs import index
from hype_bench.runs.status import read_runs
index._WORTH, index._BATCH = 1, 3
expected = json.loads(Path({str(results.parent / "expected.json")!r}).read_text())
for _ in range(40):
    assert {{run.identity: run.record for run in read_runs({str(results)!r})}} == expected
"""
    (results.parent / "expected.json").write_text(json.dumps(expected))
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    while any(process.poll() is None for process in processes):
        time.sleep(0.02)
        (results / "index.sqlite").unlink(missing_ok=True)
    assert [process.returncode for process in processes] == [0, 0]
    assert {run.identity: run.record for run in answer(results)} == expected
    with sqlite3.connect(results / "index.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
