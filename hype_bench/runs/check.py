"""What the files of a run must hold; checked once, before a record is made of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any, TypeGuard

Content = dict[str, Any]

DONE, DIVERGED = "done", "diverged"  # the states that a record has
NO_SEED = 2**32  # the first number that is too large for one

_NAMES = ("model", "task", "method", "metric")
_LARGEST = 2**63
_DEEPEST = 16  # levels of lists and dictionaries; a record has six
_SIGNED = {"matthews", "pearson", "spearman", "pearson_spearman"}  # from -1 to 1, or NaN; all others from 0 to 1
_ROUNDING = 1e-9  # by which a perfect correlation may exceed 1
SUMMED = ("status", "label", "parts", "config", "scores", "subset", "absent", "machine", "versions")  # tables read it


def check_request(content: Any) -> Content:
    """What was asked for: the content of ``run.json``, and a part of every record.

    Raises:
        ValueError: it is not valid; the message says what is wrong with it.
    """
    about = _mapping("the content", content)
    label, parts, config = (_mapping(name, about.get(name)) for name in ("label", "parts", "config"))
    for name in _NAMES:
        _need(isinstance(label.get(name), str) and label[name], f"label.{name} is not a name")
    _need(_is_count(label.get("seed")) and label["seed"] < NO_SEED, "label.seed is not a seed")
    _need(_is_count(parts.get("format")), "parts.format is not a number")
    _need(_is_count(parts.get("seed")) and parts["seed"] == label["seed"], "parts.seed is not the label's")
    _need(_is_list_of_methods(parts.get("methods")), "parts.methods is not a list of techniques with their options")
    _need(_is_list_of_methods([parts.get("analysis", ["", {}])]), "parts.analysis is not a name with its options")
    _mapping("parts.training", parts.get("training", {}))
    _need(isinstance(label.get("generated", False), bool), "label.generated is neither true nor false")
    _need(_is_text(label.get("experiment", "")), "label.experiment is not a name")
    _need(_is_text(label.get("variation", "")), "label.variation is not a text")
    _need(_is_text(about.get("started", "")), "started is not a time")
    place = about.get("working_directory")  # a foreign record must not mean a folder that comes with it
    is_absolute = isinstance(place, str) and PurePath(place).is_absolute()
    _need(place is None or is_absolute, "working_directory is not an absolute path")
    _need(_is_list_of(str, about.get("overrides") or []), "overrides is not a list of texts")
    _check_config(config)
    _need(_is_shallow(parts) and _is_shallow(config), "it is nested too deeply")
    return about


def check_record(content: Any) -> Content:
    """The record of a run that is done or has diverged: the content of ``result.json``.

    Raises:
        ValueError: it is not valid; the message says what is wrong with it.
    """
    record = check_request(content)
    _need(record.get("status") in (DONE, DIVERGED), "its status is neither done nor diverged")
    for name, value in _mapping("scores", record.get("scores")).items():
        _need(_is_score(name, value, "analysis" in record["parts"]), f"scores.{name} is not a score")
    for name, value in _mapping("seconds", record.get("seconds", {})).items():
        _need(_is_number(value) and 0 <= value < _LARGEST, f"seconds.{name} is not a time")
    for name, holds, what in _OPTIONAL:
        _need(record.get(name) is None or holds(record[name]), f"{name} is not {what}")
    for split, rows in (record.get("subset") or {}).items():
        _need(_is_list_of(int, rows) and len(rows) == 2, f"subset.{split} is not two numbers of rows")
    checksum = record.get("checksum")  # old records have none
    if checksum is not None:
        _need(checksum == checksum_of(record), "its checksum does not match: it was changed after it was written")
    return record


def checksum_of(content: Content) -> str:
    """Of what tables read, as a file has it: JSON without NaN."""
    text = json.dumps([content.get(name) for name in SUMMED], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _check_config(config: Content) -> None:
    task = _mapping("config.task", config.get("task", {}))
    _mapping("config.data", config.get("data", {}))
    _mapping("config.training", config.get("training", {}))
    _need(isinstance(task.get("labels"), list | None), "config.task.labels is not a list")
    for name in ("train_file", "validation_file"):
        _need(isinstance(task.get(name), str | None), f"config.task.{name} is not a path")


def _need(holds: object, complaint: str) -> None:
    if not holds:
        raise ValueError(complaint)


def _mapping(name: str, value: Any) -> Content:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a mapping")
    return value


def _is_list_of_methods(methods: Any) -> bool:
    return isinstance(methods, list) and all(
        isinstance(method, list) and [type(part) for part in method] == [str, dict] for method in methods
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {kind}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST  # True is an int, and no number


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float)


def _is_score(name: str, value: Any, is_measured: bool) -> bool:
    """Whether the metric can have that value; records have NaN as "nan", which JSON lacks. What an analysis measures
    may be a difference, or in units of its own."""
    signed = name.rpartition("/")[2] in _SIGNED
    if value == "nan" or value != value:
        return signed or is_measured
    return _is_number(value) and (is_measured or -signed - _ROUNDING <= value <= 1 + _ROUNDING)


def _is_shallow(value: Any, levels: int = _DEEPEST) -> bool:
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)) and not (levels and _is_shallow(item, levels - 1)):
            return False
    return True


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and not any(isinstance(item, (dict, list)) for item in value.values())


def _counts_rows(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


_OPTIONAL: tuple[tuple[str, Callable[[Any], bool], str], ...] = (  # fields of a record that may be missing or null
    *((name, _is_text, "a text") for name in ("reason", "ended", "predictions", "positive_class")),
    *((name, _is_count, "a number") for name in ("updates", "tokens", "peak_memory_bytes")),
    ("tokens_per_second", _is_number, "a number"),
    *((name, partial(_is_list_of, str), "a list of texts") for name in ("classes", "absent", "warnings")),
    ("curve", partial(_is_list_of, dict), "a list of points"),
    *((name, _counts_rows, "numbers of rows by split") for name in ("dropped", "scored_rows", "test_rows")),
    *((name, _is_flat, "a flat mapping") for name in ("machine", "versions", "git")),
    *((name, _is_mapping, "a mapping") for name in ("facts", "subset")),
)
