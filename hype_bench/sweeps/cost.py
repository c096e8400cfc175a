"""What of a plan is still to do, and its cost by the measure of finished runs.

A run costs the median of finished runs of the same model, task and method with equal settings of those that affect pace
or length; else of those of the same model and task; else its number of updates times the seconds of one on the same
model, or the median of that model if the number is unknown. A smoke test has other settings and is not used for a real
run. An analysis costs the median of finished ones of the same model and settings; and the training of the run that it
reads, if that has no weights yet and no other analysis before it in the plan trains it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from hype_bench.runs.record import Record
from hype_bench.runs.status import BROKEN, DIVERGED, DONE, FAILED, RunStatus
from hype_bench.runs.weights import has_weights
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.sweeps.workload import Values, Workload, workload_of

MEASURED, SAME_TASK, SAME_MODEL, UNKNOWN = "measured", "from the same task", "from the same model", "unknown"
SOURCES = (MEASURED, SAME_TASK, SAME_MODEL, UNKNOWN)  # from sure to unsure


@dataclass(frozen=True)
class Estimate:
    """Seconds of a run, None if unknown; the one of ``SOURCES`` that they are from; kind and name of the device."""

    seconds: float | None
    source: str
    device: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Group:
    """The runs of a plan of one model, task and method, each counted once.

    ``done``: ended, be it diverged; ``failed``: those to do whose last attempt crashed or left a broken record;
    ``seconds``: per run that is to do (or was done, if none is), None if unknown; ``source``: the least sure one.
    """

    model: str
    task: str
    method: str
    runs: int
    done: int
    failed: int
    to_do: int
    seconds: float | None
    source: str


@dataclass(frozen=True)
class Cost:
    """``hours``: of what is to do, one run after another, by kind of device (GPU, CPU); ``devices``: the names of those
    measured on, by kind; ``unknown``: number of runs to do whose cost is unknown and in no sum."""

    groups: list[Group]
    hours: dict[str, float]
    devices: dict[str, list[str]]
    unknown: int


def cost_of(plan: Plan, statuses: Mapping[str, RunStatus]) -> Cost:
    """What of a plan is done and to do, and what that will cost.

    Args:
        statuses: identity -> what became of the run: of the plan's own runs or, which tells more, of all in the folder.
    """
    finished, trained = Finished(statuses.values()), {name for name, run in statuses.items() if _is_trained(run)}
    groups: dict[tuple[str, str, str], list[tuple[str, Estimate]]] = defaultdict(list)
    for run in plan.once():
        state = statuses[run.identity].state if run.identity in statuses else ""
        estimate = finished.estimate(run)
        if run.reads and run.reads not in trained and state not in (DONE, DIVERGED):
            trained.add(run.reads)
            estimate = _both(estimate, finished.estimate(_training_of(run)))
        groups[run.model, run.task, run.method].append((state, estimate))
    to_do = [estimate for members in groups.values() for state, estimate in members if state not in (DONE, DIVERGED)]
    hours: dict[str, float] = defaultdict(float)
    devices: dict[str, set[str]] = defaultdict(set)
    for estimate in to_do:
        if estimate.seconds is not None:
            kind, name = estimate.device
            hours[kind] += estimate.seconds / 3600
            devices[kind].add(name)
    return Cost(
        groups=[_group(*place, members) for place, members in groups.items()],
        hours=dict(hours),
        devices={kind: sorted(names) for kind, names in devices.items()},
        unknown=sum(estimate.seconds is None for estimate in to_do),
    )


def _is_trained(run: RunStatus) -> bool:
    return run.state == DONE and has_weights(run.path)


def _training_of(run: PlannedRun) -> PlannedRun:
    """The run that an analysis reads, as far as its cost goes."""
    return replace(run, task=run.task.partition(f".{run.analysis}")[0], analysis="", reads="")


def _both(one: Estimate, other: Estimate) -> Estimate:
    seconds = None if one.seconds is None or other.seconds is None else one.seconds + other.seconds
    return Estimate(seconds, max(one.source, other.source, key=SOURCES.index), other.device)


def _group(model: str, task: str, method: str, members: Sequence[tuple[str, Estimate]]) -> Group:
    to_do = [estimate for state, estimate in members if state not in (DONE, DIVERGED)]
    asked = to_do or [estimate for _, estimate in members]
    seconds = [estimate.seconds for estimate in asked if estimate.seconds is not None]
    return Group(
        model=model,
        task=task,
        method=method,
        runs=len(members),
        done=len(members) - len(to_do),
        failed=sum(state in (FAILED, BROKEN) for state, _ in members),
        to_do=len(to_do),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        source=max((estimate.source for estimate in asked), key=SOURCES.index),
    )


@dataclass(frozen=True)
class _Done:
    """A finished run. ``train``, ``rest``: seconds of its updates and of all else; ``options``: ``technique.option`` ->
    value; ``examples``: how many it trained on, None if it had a number of updates."""

    task: str
    method: str
    train: float
    rest: float
    updates: int
    device: tuple[str, str]
    options: dict[str, Any]
    examples: float | None


class Finished:
    """Finished runs by model, task and settings, from which others are estimated."""

    def __init__(self, statuses: Iterable[RunStatus]) -> None:
        self.done: dict[tuple[str, str, Workload], list[_Done]] = defaultdict(list)
        self.analyses: dict[tuple[str, str, Workload], list[_Done]] = defaultdict(list)  # by analysis
        self.known: dict[tuple[str, str, str, str, Workload], Estimate] = {}
        for status in statuses:
            if status.state == DONE and (record := status.record) is not None:
                workload = workload_of(record.training, record.data)
                if record.analysis:
                    self.analyses[record.label.model, record.analysis, workload].append(_done_analysis(record))
                elif (done := _done(record, dict(workload.length))) is not None:
                    self.done[record.label.model, record.label.task, workload].append(done)

    def estimate(self, run: PlannedRun) -> Estimate:
        """What a run will cost; computed once for runs that differ only in settings without effect on it."""
        key = run.model, run.task, run.method, run.analysis, run.workload
        if key not in self.known:
            estimate = self._estimate_analysis if run.analysis else self._estimate
            self.known[key] = estimate(run)
        return self.known[key]

    def _estimate_analysis(self, run: PlannedRun) -> Estimate:
        """Of the analysis alone."""
        workload = Workload(run.workload.pace, run.workload.length)
        same = self.analyses.get((run.model, run.analysis, workload), [])
        same_task = [done for done in same if done.task == run.task]
        if same_method := [done for done in same_task if done.method == run.method]:
            return _median(same_method, MEASURED)
        if same_task:
            return _median(same_task, SAME_TASK)
        return _median(same, SAME_MODEL) if same else Estimate(None, UNKNOWN)

    def _estimate(self, run: PlannedRun) -> Estimate:
        model, task, method, workload = run.model, run.task, run.method, run.workload
        pace, length = workload.pace, workload.length
        same_task = self._like(model=model, task=task, pace=pace, length=length)
        same_method = [done for done in same_task if done.method == method]
        if same := [done for done in same_method if dict(workload.options).items() <= done.options.items()]:
            return _median(same, MEASURED)
        if same_task:
            return _median(same_method or same_task, SAME_TASK)
        updates = self._updates(task, dict(length))
        if updates and (same_pace := self._like(model=model, pace=pace)):
            return _scaled(same_pace, updates)
        same_settings = self._like(model=model, pace=pace, length=length)
        return _median(same_settings, SAME_MODEL) if same_settings else Estimate(None, UNKNOWN)

    def _updates(self, task: str, length: Mapping[str, Any]) -> int | None:
        """How many updates a run will do: its own number, or by the size of its data in other models' runs."""
        if (steps := length.get("training.max_steps")) is not None:
            return int(steps)
        rows = {name: value for name, value in length.items() if name.startswith("data.")}
        sizes = [
            done.examples
            for (_, of, workload), members in self.done.items()
            if of == task and rows.items() <= dict(workload.length).items()
            for done in members
            if done.examples is not None
        ]
        epochs, batch_size = length.get("training.epochs"), length.get("training.batch_size")
        return math.ceil(median(sizes) * epochs / batch_size) if sizes and epochs and batch_size else None

    def _like(
        self, model: str, task: str | None = None, pace: Values | None = None, length: Values | None = None
    ) -> list[_Done]:
        """Those of a model that agree in what is given."""
        return [
            done
            for (on, of, workload), members in self.done.items()
            if on == model and task in (None, of)
            if pace in (None, workload.pace) and length in (None, workload.length)
            for done in members
        ]


def _median(runs: Sequence[_Done], source: str) -> Estimate:
    """Of the most frequent kind of run: one device, one number of updates."""
    runs = _usual(_usual(runs, lambda done: done.device), lambda done: done.updates)
    return Estimate(median(done.train + done.rest for done in runs), source, runs[0].device)


def _scaled(runs: Sequence[_Done], updates: int) -> Estimate:
    runs = _usual(runs, lambda done: done.device)
    seconds = median(done.rest for done in runs) + updates * median(done.train / done.updates for done in runs)
    return Estimate(seconds, SAME_MODEL, runs[0].device)


def _usual(runs: Sequence[_Done], what: Callable[[_Done], Any]) -> list[_Done]:
    """The largest class, the greater if two are as large."""
    counts = Counter(map(what, runs))
    most = max(counts, key=lambda value: (counts[value], value))
    return [done for done in runs if what(done) == most]


def _done(record: Record, length: Mapping[str, Any]) -> _Done | None:
    """None if it was not trained, such as a soup."""
    train = record.seconds.get("train", 0.0)
    if not (record.updates and train):
        return None
    epochs, batch_size = length["training.epochs"], length["training.batch_size"]
    is_known = all(isinstance(number, int | float) and number > 0 for number in (epochs, batch_size))
    return _Done(
        task=record.label.task,
        method=record.label.method,
        train=train,
        rest=sum(record.seconds.values()) - train,
        updates=record.updates,
        device=_device(record),
        options={f"{name}.{option}": value for name, options in record.methods for option, value in options.items()},
        examples=record.updates * batch_size / epochs if is_known else None,
    )


def _done_analysis(record: Record) -> _Done:
    label = record.label
    return _Done(label.task, label.method, 0.0, sum(record.seconds.values()), 0, _device(record), {}, None)


def _device(record: Record) -> tuple[str, str]:
    kind = "CPU" if record.machine.get("device", "cpu") == "cpu" else "GPU"
    return kind, str(record.machine.get("device_name") or "unnamed")
