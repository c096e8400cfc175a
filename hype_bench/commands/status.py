"""``hype-bench status``: what ran, what is running, what failed."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from pathlib import Path

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.output import counted, say
from hype_bench.runs.status import DONE, FAILED, STATES, UNREADABLE, RunStatus, read_runs


def status(results_dir: ResultsDir = Path("results")) -> None:
    """What ran, what is running, what failed and why."""
    gc.disable()  # collecting garbage among 100,000 records takes longer than reading them
    runs = list(read_runs(existing(results_dir)))
    counts = Counter(run.state for run in runs)
    total = f"{results_dir}: {counted(len(runs), 'run')}"
    say(", ".join([total, *(f"{counts[state]} {state}" for state in STATES if counts[state])]))
    for line in _done(runs):
        say(f"  {DONE:<11}  {line}")
    for run in sorted(runs, key=lambda run: (STATES.index(run.state), run.title)):
        if run.state != DONE:
            say(f"  {run.state:<11}  {run.title}" + (f": {run.reason}" if run.reason else ""))
            if run.state == FAILED:
                say(f"{'':15}traceback: {run.path / 'failure.txt'}")
    if any(run.state == UNREADABLE for run in runs):
        raise typer.Exit(1)


def _done(runs: list[RunStatus]) -> list[str]:
    """Done runs by model, task and method, with their seeds in one line."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        if run.record is not None and run.state == DONE:
            label = run.record.label
            seeds[f"{label.model} {label.task} {label.method}"].append(label.seed)
    return [_with_seeds(name, of_name) for name, of_name in sorted(seeds.items())]


def _with_seeds(name: str, seeds: list[int]) -> str:
    distinct = sorted(set(seeds))
    words = f"{name}: {'seed' if len(distinct) == 1 else 'seeds'} {', '.join(map(str, distinct))}"
    return words if len(seeds) == len(distinct) else f"{words} ({len(seeds)} runs of differing settings)"
