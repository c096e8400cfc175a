"""A run's settings as ``name -> text``, and those in which runs differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from hype_bench.choices import FILES
from hype_bench.config import ROWS
from hype_bench.runs.record import Request

Settings = tuple[tuple[str, str], ...]

_SUBSET = (*ROWS, "subset_seed")
_METHODS = "methods."
_SHOWN = {"data": 8, "model": len("content:") + 8}  # characters of what is or may be a hash


def without_seed(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parts.items() if key != "seed"}


def options(parts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a run's identity but its seed; the data in words as well as by its hash.

    Args:
        parts, config: as :class:`hype_bench.runs.record.Request` has them.
    """
    flat: dict[str, Any] = {}
    for key, value in parts.items():
        if key == "methods":
            for name, values in value:
                flat |= {f"{_METHODS}{name}.{option}": setting for option, setting in values.items()}
        elif key == "plugins":
            flat |= {f"{_METHODS}{name}.plugin": plugin for name, plugin in value.items()}
        elif key == "training":
            flat |= {f"training.{option}": setting for option, setting in value.items()}
        elif key != "seed":
            flat[key] = value
    data, task = config.get("data", {}), config.get("task", {})
    if any(data.get(key) for key in ROWS):
        flat |= {key: data[key] for key in _SUBSET if data.get(key) is not None}
    return flat | {key: PurePath(task[key]).name for key in FILES if task.get(key)}


def flat_settings(about: Request) -> dict[str, str]:
    """:func:`options` as they are written on the command line; of hashes the first digits."""
    return {key: _text(value)[: _SHOWN.get(key)] for key, value in options(about.parts, about.config).items()}


def of_methods(flat: Mapping[str, str], keep: bool) -> dict[str, str]:
    """Only the hyper-parameters of the methods, or all but those."""
    return {key: value for key, value in flat.items() if key.startswith(_METHODS) == keep}


def differing(flats: Iterable[Mapping[str, str]]) -> set[str]:
    """The settings in which some differ; the data by its hash only where no words tell two data sets apart."""
    flats = list(flats)
    keys = {key for flat in flats for key in flat}
    different = {key for key in keys if len({flat.get(key) for flat in flats}) > 1}
    if len({flat["subset_seed"] for flat in flats if "subset_seed" in flat}) < 2:  # a subset beside the full data
        different.discard("subset_seed")
    hashes: dict[tuple[str | None, ...], set[str | None]] = defaultdict(set)
    for flat in flats:
        hashes[tuple(flat.get(key) for key in (*_SUBSET, *FILES))].add(flat.get("data"))
    if "data" not in different:  # other words for the same rows
        return different - {*_SUBSET, *FILES}
    return different if any(len(of_words) > 1 for of_words in hashes.values()) else different - {"data"}


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """``training.learning_rate`` -> ``learning_rate``; two of the same last word keep what tells them apart."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: word if counts[word] == 1 else key.removeprefix(_METHODS) for key, word in last.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if value is None:
        return "null"  # as it is written on the command line
    if isinstance(value, float):
        return f"{value:.15g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)
