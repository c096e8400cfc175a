"""Runs that did not end."""

from __future__ import annotations

from pathlib import Path

from hype_bench.output import say
from hype_bench.runs.status import FAILED, INTERRUPTED, UNREADABLE, RunStatus, read_runs


def incomplete(results_dir: Path) -> tuple[list[RunStatus], int]:
    """Failed and interrupted runs, and how many cannot be read now; those are named in a line each."""
    runs = list(read_runs(results_dir))
    unreadable = [run for run in runs if run.state == UNREADABLE]
    for run in unreadable:
        say(run.problem)
    return [run for run in runs if run.state in (FAILED, INTERRUPTED)], len(unreadable)
