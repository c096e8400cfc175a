"""Values from a configuration as the fields of a frozen dataclass: a technique's options, or an analysis'."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from hype_bench.options import UserError

T = TypeVar("T")
_INEXACT = 2**53  # from here on a whole number may be none that a float has
_NOTHING_FIXED: Mapping[str, Any] = {}


def instance(where: str, cls: type[T], values: Mapping[str, Any], fixed: Mapping[str, Any] = _NOTHING_FIXED) -> T:
    """An instance with these values, each in the type of its field.

    Args:
        where: what stands before an option's name on the command line, as in ``method.hype_n``.
        fixed: fields that are not the user's to set.

    Raises:
        UserError: an unknown field, a value of the wrong type, or one that the class refuses.
    """
    hints = typing.get_type_hints(cls)
    free = [f.name for f in fields(cls) if f.name not in fixed]  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in free:
            near = difflib.get_close_matches(key, free, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(free) or 'none'}"
            raise UserError(f"{where} has no option {key!r}{hint}")
        if not _fits(value, hints[key]):
            raise UserError(f"{where}.{key} must be {_in_words(hints[key])}, not {value!r}")
    try:
        return cls(**{**{key: _as(hints[key], value) for key, value in values.items()}, **fixed})
    except ValueError as error:
        raise UserError(f"{where}.{error}") from error


def _fits(value: object, hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(v, typing.get_args(hint)[0]) for v in value)
    if isinstance(value, bool):
        return hint is bool or hint is str
    return isinstance(value, hint) or (hint is float and isinstance(value, int) and abs(value) < _INEXACT)


def _as(hint: Any, value: Any) -> Any:
    """A value that fits, in the type that the field has: 1 and 1.0 are one option, and the same run."""
    if isinstance(value, list):
        return [_as(typing.get_args(hint)[0], v) for v in value] if typing.get_origin(hint) is list else value
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, bool):  # a name may be "true", which YAML reads as a truth value
        return str(value).lower() if hint is str else value
    return float(value) if isinstance(value, int) and float in kinds and int not in kinds else value


def _in_words(hint: Any) -> str:
    names = {float: "a number", int: "a whole number", str: "a name", bool: "true or false", type(None): "null"}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_in_words(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return "a list"
    return names.get(hint, str(hint))
