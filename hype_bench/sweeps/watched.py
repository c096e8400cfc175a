"""Sweeps at one moment: what is done, what is running and how far it is, what failed, and how long the rest takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hype_bench.runs.progress import read_progress
from hype_bench.runs.status import (
    BROKEN,
    DIVERGED,
    DONE,
    FAILED,
    INTERRUPTED,
    RUNNING,
    UNREADABLE,
    RunStatus,
    folder_names,
    read_named,
)
from hype_bench.sweeps.cost import Finished
from hype_bench.sweeps.planned import Plan, plans, read_plan


@dataclass(frozen=True)
class Running:
    """``seconds``: since it was started, None if that is not known; ``update`` of ``updates``: 0 of 0 if not known."""

    title: str
    seconds: float | None
    update: int = 0
    updates: int = 0


@dataclass(frozen=True)
class Sweep:
    """An experiment, or the runs that belong to none (without a ``name``), at one moment.

    ``total``: how many runs there are to be; ``done``: with a record, ``diverged`` of them so; ``failed``,
    ``interrupted``: no process does them now; ``seconds_left``: until all others are done, if as many run at a time as
    now; None if none is running or it cannot be known.
    """

    name: str
    total: int
    done: int
    diverged: int
    running: list[Running]
    failed: list[RunStatus]
    interrupted: int
    seconds_left: float | None


class Watcher:
    """Looks at a results folder again and again, at runs that have ended once.

    Args:
        experiment: the only one to look at; else all that have a plan, and the runs that belong to none.
    """

    def __init__(self, results_dir: Path, experiment: str | None = None) -> None:
        self.results_dir, self.experiment = results_dir, experiment
        self._ended: dict[str, RunStatus] = {}

    def look(self) -> list[Sweep]:
        """Raises UserError if a plan cannot be read."""
        names = [self.experiment] if self.experiment else plans(self.results_dir)
        planned = [read_plan(self.results_dir, name) for name in names]
        statuses = self._read()
        finished = Finished(statuses.values())
        sweeps = [_of_plan(plan, statuses, finished) for plan in planned]
        others = statuses.keys() - {run.identity for plan in planned for run in plan.runs}
        if others and not self.experiment:
            sweeps.append(_sweep("", [statuses[name] for name in sorted(others)], dict.fromkeys(others)))
        return sweeps

    def _read(self) -> dict[str, RunStatus]:
        names = folder_names(self.results_dir)
        read = {run.identity: run for run in read_named(self.results_dir, set(names) - self._ended.keys())}
        known = self._ended | read
        self._ended = {name: known[name] for name in names if name in known and known[name].state in (DONE, DIVERGED)}
        return {name: known[name] for name in names if name in known}


def _of_plan(plan: Plan, statuses: Mapping[str, RunStatus], finished: Finished) -> Sweep:
    runs = {run.key: run for run in plan.once()}
    started = [statuses[name] for name in runs if name in statuses]
    takes = {name: finished.estimate(run).seconds for name, run in runs.items()}
    return _sweep(plan.key, started, takes)


def _sweep(name: str, started: Sequence[RunStatus], takes: Mapping[str, float | None]) -> Sweep:
    """``takes``: the seconds that each of its runs takes in all, None if unknown."""
    states = Counter(run.state for run in started)
    running = {run.identity: _running(run) for run in started if run.state == RUNNING}
    left = [_left(run, takes[name]) for name, run in running.items()]
    left += [takes[name] for name in takes.keys() - {run.identity for run in started}]
    known = [seconds for seconds in left if seconds is not None]
    return Sweep(
        name=name,
        total=len(takes),
        done=states[DONE] + states[DIVERGED],
        diverged=states[DIVERGED],
        running=list(running.values()),
        failed=[run for run in started if run.state in (FAILED, BROKEN, UNREADABLE)],
        interrupted=states[INTERRUPTED],
        seconds_left=sum(known) / len(running) if running and len(known) == len(left) else None,
    )


def _running(run: RunStatus) -> Running:
    started = run.request.started if run.request else ""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()) if started else None
    return Running(run.title, seconds, *(read_progress(run.path) or (0, 0)))


def _left(run: Running, takes: float | None) -> float | None:
    """The seconds until a run ends: at its pace so far or, before that is known, by what such runs take."""
    if run.seconds is None:
        return None
    if run.update:
        return run.seconds * (run.updates / run.update - 1)
    return None if takes is None else max(0.0, takes - run.seconds)
