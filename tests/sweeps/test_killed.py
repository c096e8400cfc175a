"""kill -9 at any moment, two sweeps in one folder, Ctrl-C: the same command finishes exactly what is missing."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hype_bench.runs.status import read_runs

SWEEP: tuple[str, ...] = ("model=tiny_bert", "task=demo_rte", "tracker=none", "method=hype_n", "training.max_steps=40")
SWEEP = (*SWEEP, "data.max_train_examples=128", "data.max_eval_examples=64", "training.learning_rate=1e-3")
SWEEP = (*SWEEP, "-m", "seed=1,2,3,4")


def done(results: Path) -> dict[str, int]:
    """Run -> when its record was written; every record there is whole."""
    times = {}
    for path in results.glob("runs/*/result.json"):
        assert json.loads(path.read_text())["status"] == "done"
        times[path.parent.name] = path.stat().st_mtime_ns
    return times


def table_of(output: str) -> str:
    lines = output.splitlines()
    return "\n".join(lines[lines.index("") : -1])


def numbers(results: Path) -> dict[str, Any]:
    records = {path.parent.name: json.loads(path.read_text()) for path in results.glob("runs/*/result.json")}
    return {name: (record["scores"], record["curve"], record["label"]) for name, record in records.items()}


@pytest.fixture(scope="module")
def undisturbed(warm_in: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], float]:
    """Table, numbers and seconds of the sweep that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    ended = warm_in(folder)(*SWEEP)
    assert "4 runs: 4 done now, 0 done before, 0 failed" in ended.stdout, ended.stdout + ended.stderr
    return table_of(ended.stdout), numbers(folder / "results"), time.monotonic() - started


def test_killed_at_any_moment(warm: Any, tmp_path: Path, undisturbed: tuple[str, dict[str, Any], float]) -> None:
    table, expected, seconds = undisturbed
    results, moments = tmp_path / "results", random.Random(0)
    before: dict[str, int] = {}
    kills = 0
    while kills < 4:
        sweep = warm.start(*SWEEP)
        time.sleep(moments.uniform(0.1, seconds / 2))
        sweep.kill()
        kills += 1
        after = done(results)
        assert {name: after[name] for name in before} == before  # what was done was not done again
        before = after
        assert {run.state for run in read_runs(results)} <= {"done", "interrupted"}
    ended = warm(*SWEEP)
    assert ended.returncode == 0, ended.stderr
    assert f"4 runs: {4 - len(before)} done now, {len(before)} done before, 0 failed" in ended.stdout
    after = done(results)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    assert table_of(ended.stdout) == table
    assert numbers(results) == expected
    assert [run.state for run in read_runs(results)] == ["done"] * 4


def test_killed_in_the_middle_of_a_run(warm: Any, tmp_path: Path, undisturbed: tuple[str, Any, float]) -> None:
    """Not at a random moment, but surely after the first record and before the last."""
    sweep = warm.start(*SWEEP)
    sweep.until(lambda: done(tmp_path / "results"))
    sweep.kill()
    left = done(tmp_path / "results")
    assert 1 <= len(left) <= 3
    ended = warm(*SWEEP)
    assert f"4 runs: {4 - len(left)} done now, {len(left)} done before, 0 failed" in ended.stdout
    assert table_of(ended.stdout) == undisturbed[0]


def test_two_sweeps_at_once(warm: Any, tmp_path: Path, undisturbed: tuple[str, dict[str, Any], float]) -> None:
    """Each run is trained by one of them, the other waits for it; someone asks for the status all the while."""
    asking, states = threading.Event(), set()

    def ask() -> None:
        while not asking.is_set():
            states.update(run.state for run in read_runs(tmp_path / "results"))
            time.sleep(0.005)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        sweeps = [warm.start(*SWEEP), warm.start(*SWEEP)]
        ended = [sweep.wait() for sweep in sweeps]
    finally:
        asking.set()
        thread.join()
    assert [sweep.returncode for sweep in ended] == [0, 0], [sweep.stdout + sweep.stderr for sweep in ended]
    trained = [line for sweep in ended for line in sweep.stdout.splitlines() if "] done: " in line]
    assert sorted(re.findall(r" seed (\d+)", "\n".join(trained))) == ["1", "2", "3", "4"]
    for sweep in ended:
        assert undisturbed[0] in sweep.stdout
        assert ", 0 failed" in sweep.stdout
    assert numbers(tmp_path / "results") == undisturbed[1]
    assert "running" in states
    assert "failed" not in states


def test_interrupted_by_the_user(warm: Any, tmp_path: Path) -> None:
    long = (*SWEEP[:-1], "seed=1,2", "training.max_steps=160")  # it must not end before it is told to
    sweep = warm.start(*long)
    sweep.until(lambda: done(tmp_path / "results"))
    time.sleep(0.1)  # into the next run: an interrupt within a destructor is ignored by Python
    os.kill(sweep.pid, signal.SIGINT)
    ended = sweep.wait()
    assert ended.returncode == 130
    assert ended.stderr == "error: interrupted; the same command resumes from here\n"
    assert {run.state for run in read_runs(tmp_path / "results")} <= {"done", "interrupted"}
    assert warm(*long).returncode == 0
    assert len(done(tmp_path / "results")) == 2
