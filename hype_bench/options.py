"""Options of configurations and techniques: numbers with limits, names from a list, and complaints about them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import field, fields
from enum import Flag, auto
from pathlib import Path, PurePath
from typing import Any

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?|mps")
_FILE_NAME = re.compile(r"(?!\.\.?$)[^/\\\x00-\x1f\ud800-\udc7f\udd00-\udfff]{1,200}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # longer than the letter of a drive
_LARGEST = 2**63 - 1  # of a whole number: what torch and numpy take


class Affects(Flag):
    """What a setting changes; identity, estimates of cost, notes and groups derive from it."""

    NOTHING = 0
    NUMBERS = auto()  # the scores: another run, which is not to be compared as the same
    ROUNDING = auto()  # the scores' last digits: another run, which is comparable
    ROWS = auto()  # how many rows of the data there are, so that a score is of a part of it
    LENGTH = auto()  # how many updates there are
    PACE = auto()  # how long an update takes, or what is done beside the updates

    IDENTITY = NUMBERS | ROUNDING
    COST = LENGTH | PACE


def affecting(settings: type, effect: Affects) -> tuple[str, ...]:
    """The names of a dataclass's fields that have at least one of these effects."""
    return tuple(f.name for f in fields(settings) if f.metadata.get("affects", Affects.NUMBERS) & effect)


def added_later(settings: type) -> dict[str, Any]:
    """A dataclass's fields that came when there were records without them, and their defaults, with which a run is the
    one of such a record."""
    return {f.name: f.default for f in fields(settings) if f.metadata.get("added_later")}


class UserError(ValueError):
    """Something the user can put right; its message is one readable line."""


def number(
    default: Any = None,
    affects: Affects = Affects.NUMBERS,
    added_later: bool = False,
    or_word: str | None = None,
    **limits: float,
) -> Any:
    """A numeric field with limits: ``above``/``below`` exclude their end, ``least``/``most`` include it.

    ``added_later``: see the function of that name. ``or_word``: what else it takes, of the type ``int | str``.
    """
    about = {"affects": affects, "added_later": added_later}
    return field(default=default, metadata={"limits": limits, "or_word": or_word, **about})


def choice(default: Any, *names: str, affects: Affects = Affects.NUMBERS, added_later: bool = False) -> Any:
    return field(default=default, metadata={"choices": names, "affects": affects, "added_later": added_later})


def flag(default: bool = False, affects: Affects = Affects.NUMBERS, added_later: bool = False) -> Any:
    return field(default=default, metadata={"affects": affects, "added_later": added_later})


def local(default: str | None = None, what: str = "a path", affects: Affects = Affects.NUMBERS) -> Any:
    """A field that names something on this machine."""
    return field(default=default, metadata={"place": what, "affects": affects})


def device_name(default: str) -> Any:
    """A field that names a device; whether this machine has it is another question."""
    return field(default=default, metadata={"device": True})


def check_device(name: str) -> None:
    if not DEVICE.fullmatch(name):
        raise UserError(f"device must be auto, cpu, cuda, cuda:N or mps, not {name!r}")


def check_fields(prefix: str, part: Any) -> None:
    for name in sorted(vars(part).keys() - {f.name for f in fields(part)}):  # added with +name=value
        raise UserError(f"there is no key {prefix + name!r}")
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
            raise UserError(f"{prefix}{f.name} must be a list of single values, not {value}")
        choices = f.metadata.get("choices")
        if choices and value is not None and value not in choices:
            raise UserError(f"{prefix}{f.name} must be one of {', '.join(choices)}, not {value!r}")
        if "place" in f.metadata and (value == "" or _ADDRESS.match(value or "")):
            raise UserError(f"{prefix}{f.name} takes {f.metadata['place']}, not {value or 'nothing'!r}")
        if "device" in f.metadata:
            check_device(value)
        if limits := f.metadata.get("limits"):
            _check_number(f"{prefix}{f.name}", value, limits, f.metadata["or_word"])


def _check_number(name: str, value: Any, limits: Mapping[str, float], word: str | None) -> None:
    """Also of a list, each of its numbers."""
    if word is not None and isinstance(value, str):
        if value != word:
            raise UserError(f"{name} must be {in_words(limits)}, or {word}, not {value!r}")
        return
    for single in value if isinstance(value, (list, tuple)) else [value]:
        if single is None:
            continue
        is_open = isinstance(single, int) and single > _LARGEST and not {"below", "most"} & limits.keys()
        bounds = {**limits, "most": _LARGEST} if is_open else limits
        if not within(single, bounds):
            wanted = in_words(bounds) if _is_finite(single) else "a finite number"
            raise UserError(f"{name} must be {wanted}, not {str(single).removesuffix('.0')}")


def within(number: float, limits: Mapping[str, float]) -> bool:
    return (
        _is_finite(number)
        and number > limits.get("above", float("-inf"))
        and number < limits.get("below", float("inf"))
        and (number >= limits["least"] if "least" in limits else True)
        and (number <= limits["most"] if "most" in limits else True)
    )


def _is_finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # a whole number may be too long for a float


def in_words(limits: Mapping[str, float]) -> str:
    """``{"above": 0, "most": 1}`` -> ``above 0 and at most 1``."""
    words = {"above": "above", "least": "at least", "below": "below", "most": "at most"}
    return " and ".join(f"{words[kind]} {limits[kind]}" for kind in words if kind in limits)


def is_file_name(name: str) -> bool:
    """Whether a name that becomes part of a path names one file in its folder, and nothing elsewhere."""
    return _FILE_NAME.fullmatch(name) is not None


def check_file_name(what: str, name: str) -> None:
    """Raises UserError for what is no :func:`is_file_name`; ``what`` says what the name is for."""
    if not is_file_name(name):
        raise UserError(f"{what} cannot be called {name!r}: that is not the name of a file")


def last_name(address: str) -> str:
    """The last part of a hub id or a path; a folder given as ``.``, ``..`` or ``~`` has the name it has on disk."""
    name = PurePath(address).name
    return Path(address).expanduser().resolve().name if name in ("", "..", "~") else name
