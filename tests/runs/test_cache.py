"""The cache of records: never another answer than the records themselves, and hardly a file opened."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hype_bench.runs import cache
from hype_bench.runs.cache import KEPT
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
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


def without_cache(results: Path) -> list[RunStatus]:
    """What the records say, read from a copy that never had a cache."""
    copy = results.parent / f"copy of {results.name}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(results / "runs", copy / "runs", symlinks=True)
    shutil.rmtree(results.parent / "aside", ignore_errors=True)
    results.rename(results.parent / "aside")
    copy.rename(results)
    (results / "records.cache").mkdir()  # so that none can be made either
    runs = answer(results)
    shutil.rmtree(results)
    (results.parent / "aside").rename(results)
    return runs


def stored(results: Path) -> set[str]:
    content = (results / "records.cache").read_bytes()[16:]  # behind the digest
    return set(pq.read_table(io.BytesIO(content)).column("name").to_pylist())


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty records and a cache that is made of any number."""
    monkeypatch.setattr(cache, "WORTHWHILE", 1)
    for seed in range(20):
        write(tmp_path / "results", f"{seed:02}", record_of(seed, scores=SCORES[seed % 3]))
    return tmp_path / "results"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the records that are opened from now on."""
    names: list[str] = []
    whole = RunFolder.result

    def result(self: RunFolder, *parse: Callable[[object], Record]) -> Record | None:
        names.append(self.path.name)
        return whole(self, *parse)

    monkeypatch.setattr(RunFolder, "result", result)
    return names


# --- the same answer --------------------------------------------------------------------------------------------------


def test_the_answer_is_the_same_with_and_without_a_cache(results: Path) -> None:
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
    expected = without_cache(results)
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
        assert {"curve", "facts"} <= {f.name for f in fields(Record)} - set(KEPT)
        without_seed: dict[str, Any] = {
            part: {k: v for k, v in getattr(whole, part).items() if k != "seed"} for part in ("parts", "config")
        }
        assert run.record == replace(
            whole, **without_seed | {name: type(getattr(whole, name))() for name in ("curve", "facts")}
        )


def test_runs_of_one_cell_share_what_they_agree_in(results: Path) -> None:
    for _ in range(2):
        first, second = (run.record for run in answer(results) if run.identity in ("00", "03"))
        assert first is not None
        assert second is not None
        assert first.parts is second.parts
        assert first.config is second.config
        assert (first.label.seed, second.label.seed) == (0, 3)


def test_names_are_answered_in_their_order_and_only_if_they_have_begun(results: Path) -> None:
    for _ in range(2):
        identities = [run.identity for run in read_named(results, ["07", "nobody", "03", "05"])]
        assert identities == ["07", "03", "05"]
    assert stored(results) == {"03", "05", "07"}


def test_whoever_stops_half_way_leaves_a_whole_cache(results: Path) -> None:
    runs = read_runs(results)
    next(runs)
    runs.close()  # type: ignore[attr-defined]
    assert stored(results) <= {"00"}
    assert len(answer(results)) == 20
    assert len(stored(results)) == 20


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_cache_is_as_private_as_records(results: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        answer(results)
    finally:
        os.umask(before)
    assert (results / "records.cache").stat().st_mode & 0o777 == 0o666 & ~umask


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


def test_a_few_records_are_not_worth_a_cache(tmp_path: Path) -> None:
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
    records = {run.identity: run.record for run in answer(results)}
    assert sorted(opened) == ["05", "06", "20"]
    assert sorted(records) == [f"{seed:02}" for seed in range(21) if seed != 7]
    assert [record.headline for name in ("05", "06", "20") if (record := records[name])] == [0.75, 0.123456789, 0.5]
    opened.clear()
    assert {run.identity: run.record for run in answer(results)} == records
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
    (run_5,) = (run for run in answer(results) if run.identity == "05")
    assert run_5.record is not None
    assert run_5.record.scores.first == {"accuracy": 0.75}


# --- what may be wrong with the file ----------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"no table at all " * 500)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribbled(path: Path) -> None:
    """Every page is overwritten; what says where they are is not."""
    content = path.read_bytes()
    path.write_bytes(content[:64] + b"\x55" * 1000 + content[1064:])


@pytest.mark.parametrize("damage", [garbage, nothing, cut, scribbled])
def test_a_damaged_file_is_replaced(results: Path, damage: Callable[[Path], None], opened: list[str]) -> None:
    expected = answer(results)
    damage(results / "records.cache")
    opened.clear()
    assert answer(results) == expected
    assert len(opened) == 20
    opened.clear()
    assert answer(results) == expected
    assert opened == []
    assert {path.name for path in results.iterdir()} == {"runs", "records.cache"}


def test_a_file_of_another_version_is_replaced(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEPT", (*KEPT, "another field"))
    answer(results)
    monkeypatch.undo()
    monkeypatch.setattr(cache, "WORTHWHILE", 1)
    expected = answer(results)
    assert answer(results) == expected
    assert stored(results) == {run.identity for run in expected}


def test_no_byte_of_the_file_can_change_an_answer(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answer(results)
    monkeypatch.setattr(cache, "store_table", lambda *_: None)
    whole = (results / "records.cache").read_bytes()
    for place in range(0, len(whole), 61):
        changed = bytes([whole[place] ^ 0x55])
        (results / "records.cache").write_bytes(whole[:place] + changed + whole[place + 1 :])
        assert answer(results) == expected, place


def test_a_folder_in_its_place_is_done_without(results: Path, opened: list[str]) -> None:
    (results / "records.cache").mkdir()
    first = answer(results)
    opened.clear()
    assert answer(results) == first
    assert len(first) == len(opened) == 20


def test_a_fifo_in_its_place_is_not_waited_for(results: Path) -> None:
    expected = answer(results)
    (results / "records.cache").unlink()
    os.mkfifo(results / "records.cache")
    assert answer(results) == expected


def test_a_link_in_its_place_is_not_written_through(results: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (results / "records.cache").symlink_to(tmp_path / "precious")
    assert len(answer(results)) == 20
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.fixture
def disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("256k")


@pytest.mark.parametrize("cached", [False, True])
def test_a_read_only_folder(disk: Path, cached: bool, monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    monkeypatch.setattr(cache, "WORTHWHILE", 1)
    for seed in range(9):
        write(disk, str(seed), record_of(seed))
    if cached:
        answer(disk)
        write(disk, "3", record_of(3, score=0.25), age=OLD / 2)
    opened.clear()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    scores = [run.record.headline for run in answer(disk) if run.record]
    assert scores == ([0.5] * 3 + [0.25] + [0.5] * 5 if cached else [0.5] * 9)
    assert len(opened) == (1 if cached else 9)


def test_a_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    monkeypatch.setattr(cache, "WORTHWHILE", 1)
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
    expected = {run.identity: run.record for run in without_cache(results)}
    script = f"""
from pathlib import Path
from hype_bench.runs import cache
from hype_bench.runs.status import read_runs
cache.WORTHWHILE = 1
expected = Path({str(results.parent / "expected")!r}).read_text()
for _ in range(40):
    assert repr({{run.identity: run.record for run in read_runs({str(results)!r})}}) == expected
"""
    (results.parent / "expected").write_text(repr(expected))
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    while any(process.poll() is None for process in processes):
        time.sleep(0.02)
        (results / "records.cache").unlink(missing_ok=True)
    assert [process.returncode for process in processes] == [0, 0]
    assert {run.identity: run.record for run in answer(results)} == expected
