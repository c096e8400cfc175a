"""``hype-bench watch``: what is done, running and failed, and the time left; live, in a terminal, beside a sweep."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hype_bench.commands.watch import watch
from hype_bench.options import UserError
from hype_bench.render.watch import view
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.planned import read_plan, write_plan
from hype_bench.sweeps.watched import Running, Sweep, Watcher
from hype_bench.sweeps.workload import workload_of
from tests.runs.records import request_of
from tests.tables.swept import write_experiment

SWEEP: tuple[str, ...] = ("experiment=demo", "model=tiny_bert", "method=vanilla", "seed=1,2", "training.max_steps=300")
SWEEP = (*SWEEP, "training.epochs=null", "training.batch_size=4", "data.max_eval_examples=16")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of 12 runs of 10 s six are done, one runs since 10 s, one failed, one was killed and three have not started."""
    plan = write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.7}, seeds=(1, 2, 3))
    for run in plan.runs[6:]:
        for name in ("result.json", "predictions.csv", "run.json"):
            (tmp_path / "runs" / run.identity / name).unlink()
    running, failed, killed = (RunFolder(tmp_path / "runs" / run.identity) for run in plan.runs[6:9])
    started = (datetime.now(UTC) - timedelta(seconds=10)).isoformat()
    for of_run in (running, failed, killed):
        (of_run.path / "run.json").write_text(json.dumps(request_of() | {"started": started}))
    (failed.path / "failure.txt").write_text("Traceback\nRuntimeError: out of [memory]\n")
    with running.lock():
        yield tmp_path


def test_what_a_pipe_gets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch("mine", folder)
    first, running, failed = capsys.readouterr().out.splitlines()
    assert first == "mine: 6 of 12 runs done, 1 running, 1 failed, 1 interrupted, time left unknown"
    assert running == "  running  m t v seed 3, 10 s so far"
    assert failed == "  failed   m t v seed 3: RuntimeError: out of [memory]"


def test_the_time_left_is_that_of_what_runs_and_of_what_has_not_started(folder: Path) -> None:
    for record in folder.glob("runs/*/result.json"):  # what a run takes is known of runs that were trained
        record.write_text(json.dumps(json.loads(record.read_text()) | {"updates": 100}))
    plan, workload = read_plan(folder, "mine"), workload_of({}, {})
    write_plan(folder, replace(plan, runs=[replace(run, workload=workload) for run in plan.runs]))
    watcher = Watcher(folder, "mine")
    (sweep,) = watcher.look()
    assert sweep.seconds_left == pytest.approx(30, abs=1)  # it is about to end, and three take 10 s each
    (run,) = (path.parent for path in folder.glob("runs/*/lock"))
    (run / "progress").write_text("20 60\n")
    (sweep,) = watcher.look()
    (running,) = sweep.running
    assert (running.update, running.updates) == (20, 60)
    assert sweep.seconds_left == pytest.approx(20 + 30, abs=3)
    (run / "progress").write_text("20")  # half of it
    assert watcher.look()[0].running[0].updates == 0


def test_runs_of_no_experiment_are_seen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "experiments" / "mine.json").unlink()
    watch(None, folder, once=True)
    assert capsys.readouterr().out.startswith("runs of no experiment: 6 of 9 runs done, 1 running, 1 failed, ")


def test_a_terminal_shows_the_first_of_many() -> None:
    failed = RunStatus("id", "failed", Path("runs"), reason="[red]no[/red] memory")
    sweep = Sweep("mine", 40, 5, 0, [Running(f"run {n}", 3.0, n, 30) for n in range(15)], [failed], 0, 600.0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(view([sweep]))
    text = console.export_text()
    assert "5 of 40  15 running, 1 failed, about 10 min left" in text
    assert "update 11 of 30, 3 s so far" in text
    assert "run 12" not in text
    assert "and 3 more running: hype-bench status lists them" in text
    assert "id: [red]no[/red] memory" in text


def test_what_cannot_be_watched_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no such folder"):
        watch(None, tmp_path / "nowhere")
    with pytest.raises(UserError, match="experiment mine has no plan"):
        watch("mine", tmp_path)
    watch(None, tmp_path)
    assert capsys.readouterr().out == "no run and no plan yet\n"


def test_it_follows_a_sweep_in_a_terminal(warm: Any, tmp_path: Path) -> None:
    sweep = warm.start(*SWEEP, "-m")
    sweep.until(lambda: list(tmp_path.glob("results/runs/*/progress")))
    os.kill(sweep.pid, signal.SIGSTOP)  # until it was seen to run, however long that takes on a busy machine
    terminal, end = pty.openpty()
    script = [sys.executable, "-m", "hype_bench.cli", "watch"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    watched = subprocess.Popen(
        script,
        cwd=tmp_path,
        stdin=end,
        stdout=end,
        stderr=end,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job, as CI may be, ignores it
    )
    os.close(end)
    text = _read(terminal, r"tiny_bert demo_rte vanilla seed \d")
    text += _read(terminal, r"update \d+ of \d+")
    os.kill(sweep.pid, signal.SIGCONT)
    assert sweep.wait().returncode == 0
    text += _read(terminal, "2 of 2")
    watched.send_signal(signal.SIGINT)
    text += _read(terminal, None)
    assert watched.wait(10) == 0
    assert "Traceback" not in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is back
    assert not list(tmp_path.glob("results/runs/*/progress"))


def _read(terminal: int, until: str | None, seconds: float = 60) -> str:
    """What is printed until a pattern has come, or until the end."""
    text, give_up = "", time.monotonic() + seconds
    while not (until and re.search(until, re.sub(r"\x1b\[[\d;?]*\w", "", text))):
        assert time.monotonic() < give_up, text
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            text += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # Linux: the other end is closed
            break
    return text
