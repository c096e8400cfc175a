"""The typed record of a run: what ``run.json`` and ``result.json`` hold, checked once where a file is read.

docs/record_schema.md is generated from the ``Attributes`` of these classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Self, TypeVar

from hype_bench.runs.check import check_record, check_request
from hype_bench.schema import METRICS
from hype_bench.tasks.sizes import SUBSET

T = TypeVar("T")
HELDOUT = "selection"  # the name of the split of training examples that were set aside for choices

_PART = re.compile(rf"{SUBSET}(\d+) of the (\d+) rows of (.+)")
_ABSENT = re.compile(r"split '(.+)' is (?:not|missing) at the source and was not scored")  # records have had both


@dataclass(frozen=True, slots=True)
class Label:
    """What tables and W&B call a run.

    Attributes:
        model: The name of the model's choice, or the last part of the user's own address.
        task: The task's name.
        method: The techniques in their order, joined by ``+``.
        seed: The run's seed, below 2**32.
        metric: The metric of the task's headline score.
        generated: Whether the task is made by a program, so that its scores say nothing about a real one.
        experiment: The experiment that the run was started for; empty in old records.
        variation: What else its sweep varied, with the run's own values, such as ``scale=1e-4``.
    """

    model: str
    task: str
    method: str
    seed: int
    metric: str
    generated: bool = False
    experiment: str = ""
    variation: str = ""

    @property
    def title(self) -> str:
        name = f"{self.model} {self.task} {self.method} seed {self.seed}"
        return f"{name} ({self.variation})" if self.variation else name

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMES[Label]}


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores as fractions; NaN where a correlation is not defined.

    A file holds them flat: ``{"accuracy": 0.71, "validation_mismatched/accuracy": 0.72, "selection/accuracy": 0.7}``.

    Attributes:
        first: Metric -> score on the first evaluation split, which a table's cell shows.
        further: Split -> metric -> score on the evaluation splits beside it.
        heldout: Metric -> score on training examples that were set aside for choices.
    """

    first: Mapping[str, float] = field(default_factory=dict)
    further: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    heldout: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, flat: Mapping[str, Any]) -> Self:
        first: dict[str, float] = {}
        further: dict[str, dict[str, float]] = {}
        for name, value in flat.items():
            split, _, metric = name.rpartition("/")
            score = float(value)
            of_split = further.setdefault(split, {}) if split else first
            of_split[metric] = math.nan if score != score else score  # one object: equal records compare equal
        return cls(first, further, further.pop(HELDOUT, {}))

    def to_json(self) -> dict[str, float]:
        by_split = {**self.further, HELDOUT: self.heldout}
        return dict(self.first) | {
            f"{split}/{metric}": score for split, scores in by_split.items() for metric, score in scores.items()
        }

    def get(self, metric: str, split: str = "") -> float | None:
        """The score on the first evaluation split or on a further one; None if there is none."""
        return (self.further.get(split, {}) if split else self.first).get(metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for: the content of ``run.json``, and a part of every record.

    Attributes:
        label: What tables and W&B call the run.
        parts: What the run's identity is a hash of: version of the code's numbers (``format``), checkpoint, data, names
            of the classes, version of the task, maximal length, metric, techniques with options, training, seed; and
            `plugins`: of each technique that a plug-in brings, the package and the version of its numbers.
        config: The whole configuration, as ``RunConfig.as_dict`` gives it.
        overrides: The overrides as they were typed; null outside of Hydra.
        working_directory: The folder in which the run was started; null for a soup.
        started: When it was started, ISO 8601 in UTC.
    """

    label: Label
    parts: Mapping[str, Any]
    config: Mapping[str, Any]
    overrides: Sequence[str] | None = None
    working_directory: str | None = None
    started: str = ""

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Raises ValueError if it is not valid; the message says what is wrong with it."""
        return cls.trusted(check_request(content))

    @classmethod
    def trusted(cls, content: Mapping[str, Any]) -> Self:
        """From content that was checked before; unknown keys are ignored."""
        values = {**content, "label": _filled(Label, content["label"])}
        if "scores" in content:
            values["scores"] = Scores.from_json(content["scores"])
        return _filled(cls, values)

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        values = {name: getattr(self, name) for name in _NAMES[type(self)]}
        return {name: v.to_json() if isinstance(v, (Label, Scores)) else v for name, v in values.items()}

    @property
    def format(self) -> int:
        """The version of the code's numbers: runs of two formats are not comparable."""
        return int(self.parts["format"])

    @property
    def methods(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Each technique with all of its options, in their order."""
        return self.parts["methods"]  # type: ignore[no-any-return]

    @property
    def analysis(self) -> str:
        """Its name; empty for a run."""
        return str(self.parts.get("analysis", [""])[0])

    @property
    def data(self) -> Mapping[str, Any]:
        """The settings of ``DataConfig``."""
        return self.config.get("data", {})  # type: ignore[no-any-return]

    @property
    def task(self) -> Mapping[str, Any]:
        """The settings of ``TaskConfig``."""
        return self.config.get("task", {})  # type: ignore[no-any-return]

    @property
    def training(self) -> Mapping[str, Any]:
        """The settings of ``TrainingSettings``."""
        return self.config.get("training", {})  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Request):
    """The record of a run that is done or has diverged: the content of ``result.json``.

    Attributes:
        status: ``done`` or ``diverged``.
        reason: Why it diverged; empty if it is done.
        ended: When it ended, ISO 8601 in UTC.
        scores: Score of every metric on every scored split, of the last weights.
        classes: The names of the classes, in the order of the logits; empty for a regression.
        positive_class: The class that F1 is about; null if the metric knows none.
        predictions: The name of the file with the predictions of the scored splits; null if there is none.
        scored_rows: Split -> number of rows that were scored; missing in old records.
        test_rows: Split -> number of rows, of the test splits in ``test.csv``.
        curve: Points of the training curve: update, loss, learning rate, and scores where it was evaluated.
        updates: Number of updates of the weights.
        seconds: Phase -> seconds on the wall clock.
        tokens: Number of tokens in training, without padding.
        tokens_per_second: Those tokens by the seconds of training; null if it did not train.
        peak_memory_bytes: The most memory that was allocated on the GPU; 0 on a CPU.
        machine: Kind of device, its name, number of threads and the like.
        facts: What the techniques have measured of themselves.
        subset: Split -> rows that were there and rows of the public set, where fewer were there.
        absent: Evaluation splits that are not at the source, and were not scored.
        dropped: Split -> number of rows that were dropped, being without text or label.
        warnings: What the user was warned of, in sentences.
        versions: Package -> version.
        git: Commit of the checkout, and whether it was changed; null outside of one.
        checksum: Of what tables read, so that a change by hand is seen; missing in old records.
    """

    status: str
    reason: str = ""
    ended: str = ""
    scores: Scores
    classes: Sequence[str] = field(default_factory=list)
    positive_class: str | None = None
    predictions: str | None = None
    scored_rows: Mapping[str, int] = field(default_factory=dict)
    test_rows: Mapping[str, int] | None = None
    curve: Sequence[Mapping[str, Any]] = field(default_factory=list)
    updates: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    subset: Mapping[str, Sequence[int]] = field(default_factory=dict)
    absent: Sequence[str] = field(default_factory=list)
    dropped: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = field(default_factory=list)
    versions: Mapping[str, str] = field(default_factory=dict)
    git: Mapping[str, Any] | None = None
    checksum: str | None = None

    @classmethod
    def from_json(cls, content: Any) -> Self:
        return cls.trusted(checked(content))

    @property
    def headline(self) -> float | None:
        """The score that a table's cell shows; None if there is none."""
        return self.scores.get(self.label.metric)

    @property
    def summary(self) -> str:
        """``accuracy 65.34 in 41 s``: the headline score x 100 and the seconds of all phases; empty without a score."""
        if self.headline is None:
            return ""
        in_percent = self.label.metric in METRICS
        score = f"{100 * self.headline:.2f}" if in_percent else f"{self.headline:.4g}"
        return f"{self.label.metric} {score} in {sum(self.seconds.values()):.0f} s"

    @property
    def device(self) -> str:
        """``cpu``, ``cuda`` or ``mps``: dropout and noise under one seed are the same on one kind alone."""
        return str(self.machine.get("device", "unknown"))


def _filled(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance with these values, and its defaults for what is absent or None, in half the time of ``__init__``,
    which sets every field of a frozen class by its name."""
    instance = object.__new__(kind)
    for name, put, default in _SLOTS[kind]:
        value = values.get(name)
        put(instance, default() if value is None else value)
    return instance


def _default_of(of: Field[Any]) -> Callable[[], Any]:
    def default() -> Any:
        if of.default is MISSING:
            raise KeyError(of.name)
        return of.default

    return default if of.default_factory is MISSING else of.default_factory


_SLOTS: dict[type, list[tuple[str, Callable[[Any, Any], None], Callable[[], Any]]]] = {
    kind: [(f.name, getattr(kind, f.name).__set__, _default_of(f)) for f in fields(kind)]
    for kind in (Label, Request, Record)
}
_NAMES = {kind: dict.fromkeys(f.name for f in fields(kind)) for kind in (Label, Request, Record)}


def checked(content: Any) -> dict[str, Any]:
    """The content of a ``result.json``, for :meth:`Record.trusted`; ValueError if it is not valid.

    Records before version 0.2 state subsets and absent splits in warnings alone.
    """
    record = check_record(content)
    if "subset" in record or not record.get("warnings"):
        return record
    parts = filter(None, map(_PART.fullmatch, record["warnings"]))
    subset = {part[3]: [int(part[1]), int(part[2])] for part in parts}
    absent = [split[1] for split in map(_ABSENT.fullmatch, record["warnings"]) if split]
    return {**record, "subset": subset, "absent": absent}
