"""What the paper says of the runs behind a printed cell, and in what other runs contradict it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from hype_bench.choices import FILES, read_choice, usual_training
from hype_bench.config import ROWS, Config, ModelConfig, TrainingConfig
from hype_bench.options import Affects, affecting
from hype_bench.paper.published import Published, searched
from hype_bench.tasks.sizes import part_of_rows

_RECIPE = "paper"
_TRAINING = affecting(TrainingConfig, Affects.NUMBERS)


def contradictions(
    printed: Published,
    parts: Mapping[str, Any],
    config: Mapping[str, Any],
    subset: Mapping[str, Sequence[int]],
) -> list[str]:
    """In what a run differs from those behind a printed cell: ``["epochs=1 instead of 3"]``; empty if in nothing.

    The paper's settings are the recipe ``paper`` for the cell's model and task, the techniques' defaults, the values it
    searched over, what it says of the cell itself, and all of the data. What it does not say (precision, maximal
    length) is this project's default, which every other run of a regenerated table has.

    Args:
        parts, config, subset: of the run's record; a setting that they lack contradicts nothing.
    """
    wanted = _wanted(printed, [name for name, _ in parts.get("methods", ())])
    different = [
        f"{name}={_text(value)} instead of {' or '.join(map(_text, wanted[name]))}"
        for name, value in _settings(parts, config)
        if name in wanted and not any(_same(value, allowed) for allowed in wanted[name])
    ]
    few = sorted(part_of_rows(split, *rows) for split, rows in subset.items())
    return [*different, *(f"only a part of the data ({part})" for part in few)]


def _wanted(printed: Published, methods: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Setting -> the values that the cell may have been made with."""
    model, tried = str(printed.model), searched(str(printed.model))
    training = _training(model, str(printed.setting.get("trained_on", printed.task)))
    wanted: dict[str, Sequence[Any]] = {name: [value] for name, value in training.items() if name in _TRAINING}
    wanted["learning_rate"] = tried["learning_rate"]
    wanted |= {name: [printed.setting.get(name)] for name in ROWS} | {name: [None] for name in FILES}
    wanted |= {"max_length": [Config().data.max_length], "name_or_path": [None, _choice("model", model)["checkpoint"]]}
    for method in methods:
        for option, default in _choice("method", method).items():
            name = f"{method}.{option}"
            of_any = printed.setting.get(option) if "+" not in str(printed.method) else None
            stated = printed.setting.get(name, of_any)
            wanted[name] = tried.get(name, [default]) if stated is None else [stated]
    return wanted


def _settings(parts: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for method, options in parts.get("methods", ()):
        yield from ((f"{method}.{option}", value) for option, value in options.items())
    yield from parts.get("training", {}).items()
    for part, names in (("data", (*ROWS, "max_length")), ("task", FILES), ("model", ("name_or_path",))):
        about = config.get(part, {})
        yield from ((name, about[name]) for name in names if name in about)


@cache
def _training(model: str, task: str) -> dict[str, Any]:
    return usual_training(ModelConfig(**_choice("model", model)), task, _RECIPE)


@cache
def _choice(group: str, name: str) -> dict[str, Any]:
    """As it is composed by default."""
    scale = Config().noise_scale
    return {key: scale if value == "${noise_scale}" else value for key, value in read_choice(group, name).items()}


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    numbers = (int, float)
    if isinstance(value, numbers) and isinstance(wanted, numbers) and not {type(value), type(wanted)} & {bool}:
        return math.isclose(value, wanted, rel_tol=1e-9)
    return bool(value == wanted)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_text, value))}]"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
