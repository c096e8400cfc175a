"""What decides how long a run takes: the settings that affect its pace or its length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from hype_bench.config import DataConfig, TrainingConfig
from hype_bench.options import Affects, affecting

Values = tuple[tuple[str, Any], ...]  # names of settings and their values, in a fixed order


@dataclass(frozen=True, slots=True)
class Workload:
    """Resolved settings, so that two runs on the same data compare by them.

    ``pace``: what an update takes, or what is done beside the updates; ``length``: how many updates there are;
    ``options``: those of the techniques that affect either, such as ``freelb.steps``.
    """

    pace: Values = ()
    length: Values = ()
    options: Values = ()

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Raises ValueError for what is no workload."""
        if not isinstance(content, dict) or [*content] != ["pace", "length", "options"]:
            raise ValueError("one of its workloads is none")
        if not all(isinstance(part, dict) and all(map(_is_single, part.values())) for part in content.values()):
            raise ValueError("a setting of one of its workloads is not a single value")
        return cls(*(tuple(part.items()) for part in content.values()))

    def to_json(self) -> dict[str, dict[str, Any]]:
        return {"pace": dict(self.pace), "length": dict(self.length), "options": dict(self.options)}


def workload_of(
    training: Mapping[str, Any], data: Mapping[str, Any], methods: Mapping[str, Any] | None = None
) -> Workload:
    """The workload of a run that is planned, or of a finished one.

    Args:
        training, data: the settings of a run, or of its record, in which old ones may be missing.
        methods: name -> technique with its options, of a run that is planned.
    """
    options = (
        (f"{name}.{option}", getattr(method, option))
        for name, method in (methods or {}).items()
        for option in affecting(type(method), Affects.COST)
    )
    return Workload(_values(training, data, Affects.PACE), _values(training, data, Affects.LENGTH), tuple(options))


def _values(training: Mapping[str, Any], data: Mapping[str, Any], effect: Affects) -> Values:
    return (*_of("training", TrainingConfig(), training, effect), *_of("data", DataConfig(), data, effect))


def _of(section: str, defaults: Any, given: Mapping[str, Any], effect: Affects) -> Iterable[tuple[str, Any]]:
    for name in affecting(type(defaults), effect):
        value = given.get(name, getattr(defaults, name))
        yield f"{section}.{name}", value if _is_single(value) else repr(value)


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)
