"""A run's settings: everything of its identity but the seed, under flat names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from hype_bench.choices import FILES
from hype_bench.config import ROWS, TIED

Settings = tuple[tuple[str, str], ...]

_DRAWN = (*ROWS, "label_noise")  # what data.subset_seed has a say in
SUBSET = (*_DRAWN, "subset_seed")
OF_METHOD = "methods."  # begins the names of what belongs to a technique


def without_seed(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parts.items() if key != "seed"}


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether every seed of a run's siblings has its own part of the data."""
    data = config.get("data", {})
    return data.get("subset_seed") == TIED and any(data.get(key) for key in _DRAWN)


def siblings(parts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What runs share that differ in the seed alone, and in the part of the data that the seed draws."""
    shared = without_seed(parts)
    if is_tied(config):
        shared["data"] = {key: config["data"].get(key) for key in SUBSET}
    return shared


def options(parts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a run's identity but its seed; the data in words as well as by its hash.

    Args:
        parts, config: as :class:`hype_bench.runs.record.Request` has them.
    """
    flat: dict[str, Any] = {}
    for key, value in parts.items():
        if key == "methods":
            for name, values in value:
                flat |= {f"{OF_METHOD}{name}.{option}": setting for option, setting in values.items()}
        elif key == "analysis":
            name, values = value
            flat |= {f"analysis.{name}.{option}": setting for option, setting in values.items()}
        elif key == "plugins":
            flat |= {f"{OF_METHOD}{name}.plugin": plugin for name, plugin in value.items()}
        elif key == "training":
            flat |= {f"training.{option}": setting for option, setting in value.items()}
        elif key != "seed" and not (key == "data" and is_tied(config)):
            flat[key] = value
    data, task = config.get("data", {}), config.get("task", {})
    if any(data.get(key) for key in _DRAWN):
        flat |= {key: data[key] for key in SUBSET if data.get(key) is not None}
    return flat | {key: PurePath(task[key]).name for key in FILES if task.get(key)}


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """``training.learning_rate`` -> ``learning_rate``; two of the same last word keep what tells them apart."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: word if counts[word] == 1 else key.removeprefix(OF_METHOD) for key, word in last.items()}
