"""What is still to do of a plan, and what that will cost, judged by runs that are done.

A run costs the median of finished ones of the same model, task and method whose settings do not contradict its own;
else of those of the same model and task; else, on the same model, as many updates as it will do by the seconds of one,
or the median if their number is not known. A smoke test says nothing of a real run: it is of other settings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

from hype_bench.config import DataConfig, TrainingConfig
from hype_bench.runs.record import Record
from hype_bench.runs.status import BROKEN, DIVERGED, DONE, FAILED, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun

MEASURED, SAME_TASK, SAME_MODEL, UNKNOWN = "measured", "from the same task", "from the same model", "unknown"
SOURCES = (MEASURED, SAME_TASK, SAME_MODEL, UNKNOWN)  # from sure to unsure

_PACE = (  # settings that change how long an update takes, or what is beside the updates
    "training.precision",
    "training.gradient_accumulation_steps",
    "training.gradient_checkpointing",
    "training.packing",
    "training.evaluate_every",
    "data.max_length",
    "data.max_eval_examples",
    "data.predict_test",
)
_LENGTH = (  # settings that change how many updates there are
    "training.max_steps",
    "training.epochs",
    "training.batch_size",
    "data.max_train_examples",
    "data.selection_examples",
)
_OPEN = "as the recipe says"  # which is not known here: whatever a finished run has may be it

Settings = tuple[str, ...]  # a value for every axis of _DEFAULTS, in that order
Options = tuple[tuple[str, str], ...]  # method.<name>.<option> and its value


@dataclass(frozen=True)
class Estimate:
    """Seconds of a run, None if nothing tells; which of ``SOURCES`` that is from; kind and name of the device."""

    seconds: float | None
    source: str
    device: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Group:
    """The runs of a plan of one model, task and method, each counted once.

    ``done``: ended, be it diverged; ``failed``: those to do whose last attempt crashed or left a broken record;
    ``seconds``: per run that is to do (or was done, if none is), None if nothing tells; ``source``: the least sure one.
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
    measured on, by kind; ``unknown``: how many runs to do are in no sum, as nothing tells what they cost."""

    groups: list[Group]
    hours: dict[str, float]
    devices: dict[str, list[str]]
    unknown: int


def cost_of(plan: Plan, statuses: Mapping[str, RunStatus]) -> Cost:
    """What of a plan is done and to do, and what that will cost.

    Args:
        statuses: identity -> what became of the run: of the plan's own runs or, which tells more, of all in the folder.
    """
    finished = Finished(statuses.values())
    groups: dict[tuple[str, str, str], list[tuple[str, Estimate]]] = defaultdict(list)
    for run in plan.once():
        state = statuses[run.identity].state if run.identity in statuses else ""
        groups[run.model, run.task, run.method].append((state, finished.estimate(run)))
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
    """A finished run. ``train``, ``rest``: seconds of its updates and of all else."""

    method: str
    train: float
    rest: float
    updates: int
    device: tuple[str, str]
    methods: Sequence[tuple[str, Mapping[str, Any]]]

    def has(self, options: Options) -> bool:
        mine = {f"method.{name}.{key}": value for name, values in self.methods for key, value in values.items()}
        return all(axis in mine and _plain(mine[axis]) == value for axis, value in options)


class Finished:
    """Finished runs by model, task and settings, and what they tell of others."""

    def __init__(self, statuses: Iterable[RunStatus]) -> None:
        self.done: dict[tuple[str, str, Settings], list[_Done]] = defaultdict(list)
        self.known: dict[tuple[str, str, str, Settings, Options], Estimate] = {}
        for status in statuses:
            if status.state == DONE and status.record is not None and (done := _read(status.record)):
                label = status.record.label
                self.done[label.model, label.task, _settings_of(status.record)].append(done)

    def estimate(self, run: PlannedRun) -> Estimate:
        """What a run will cost; the same for all that differ in what costs nothing."""
        key = run.model, run.task, run.method, *_costly(run)
        if key not in self.known:
            self.known[key] = self._estimate(*key)
        return self.known[key]

    def _estimate(self, model: str, task: str, method: str, settings: Settings, options: Options) -> Estimate:
        same_task = self._like(settings, model, task)
        same_method = [done for done in same_task if done.method == method]
        if same := [done for done in same_method if done.has(options)]:
            return _median(same, MEASURED)
        if same_task:
            return _median(same_method or same_task, SAME_TASK)
        updates = self._updates(task, settings)
        if updates and (same_pace := self._like(settings[: len(_PACE)], model)):
            return _scaled(same_pace, updates)
        same_settings = self._like(settings, model)
        return _median(same_settings, SAME_MODEL) if same_settings else Estimate(None, UNKNOWN)

    def _updates(self, task: str, settings: Settings) -> int | None:
        """How many updates a run will do: as it is told to, or as other models did on its task."""
        steps = settings[list(_DEFAULTS).index("training.max_steps")]
        if steps[0].isdigit():
            return int(float(steps))
        others = self._like(settings, task=task)
        return _usual(others, lambda done: done.updates)[0].updates if others else None

    def _like(self, settings: Settings, model: str | None = None, task: str | None = None) -> list[_Done]:
        """Those that agree with the first of the settings, or with all."""
        return [
            done
            for (on, of, has), members in self.done.items()
            if model in (None, on) and task in (None, of)
            if all(value in (_OPEN, mine) for value, mine in zip(settings, has, strict=False))
            for done in members
        ]


def _median(found: Sequence[_Done], source: str) -> Estimate:
    """Of the kind of run that is most frequent among those found: one device, one number of updates."""
    found = _usual(_usual(found, lambda done: done.device), lambda done: done.updates)
    return Estimate(median(done.train + done.rest for done in found), source, found[0].device)


def _scaled(found: Sequence[_Done], updates: int) -> Estimate:
    found = _usual(found, lambda done: done.device)
    seconds = median(done.rest for done in found) + updates * median(done.train / done.updates for done in found)
    return Estimate(seconds, SAME_MODEL, found[0].device)


def _usual(found: Sequence[_Done], what: Callable[[_Done], Any]) -> list[_Done]:
    """The largest class, the greater if two are as large."""
    counts = Counter(map(what, found))
    most = max(counts, key=lambda value: (counts[value], value))
    return [done for done in found if what(done) == most]


def _costly(run: PlannedRun) -> tuple[Settings, Options]:
    """What a planned run is told that changes its cost, with the defaults of what it is not told."""
    told = (override.lstrip("+").partition("=") for override in run.overrides)
    said = {axis: _plain(value) for axis, _, value in told if axis in _DEFAULTS or axis.startswith("method.")}
    settings = [said.get(axis, default) for axis, default in _DEFAULTS.items()]
    opened = zip(settings, _DEFAULTS.values(), strict=True)
    options = tuple((axis, value) for axis, value in said.items() if axis not in _DEFAULTS)
    return tuple(_OPEN if (value, default) == ("null", _OPEN) else value for value, default in opened), options


def _settings_of(record: Record) -> Settings:
    """What a finished run was told, or had by default."""
    parts = {"training": record.training, "data": record.data}
    return tuple(_plain(parts[part].get(name, default)) for part, name, default in _PLACES)


def _read(record: Record) -> _Done | None:
    """None for what was not trained, such as a soup."""
    train = record.seconds.get("train", 0.0)
    if not (record.updates and train):
        return None
    kind = "CPU" if record.machine.get("device", "cpu") == "cpu" else "GPU"
    return _Done(
        method=record.label.method,
        train=train,
        rest=sum(record.seconds.values()) - train,
        updates=record.updates,
        device=(kind, str(record.machine.get("device_name") or "unnamed")),
        methods=record.methods,
    )


def _plain(value: Any) -> str:
    """As a record or a command line has it, so that what is equal reads equal."""
    return "null" if value is None else _normal(str(value))


@cache
def _normal(text: str) -> str:
    text = text.strip("'\"").replace(" ", "").lower()
    try:
        return str(float(text))
    except ValueError:
        return text


def _defaults() -> dict[str, str]:
    parts = {"training": TrainingConfig(), "data": DataConfig()}
    values = {axis: getattr(parts[axis.partition(".")[0]], axis.partition(".")[2]) for axis in (*_PACE, *_LENGTH)}
    is_open = {axis: value is None and axis.startswith("training.") for axis, value in values.items()}
    return {axis: _OPEN if is_open[axis] else _plain(value) for axis, value in values.items()}


_DEFAULTS = _defaults()
_PLACES = [(*axis.split("."), default) for axis, default in _DEFAULTS.items()]
