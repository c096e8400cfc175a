"""What techniques keep during a run, as plain data for a checkpoint, and back into techniques that were prepared anew.

Nothing has to be declared. What the hooks of a technique hold is walked through: numbers, words and tensors in
attributes, lists and dictionaries are kept; parameters by name; modules, functions, what is frozen and the context are
of the new run. Tensors that lay beside the model do so again, on whatever device it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hype_bench.contract.lifetime import Lifetime
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.noise import NoiseSource

Names = Mapping[Tensor, str]  # of a model's parameters
_OF_THE_RUN = (
    *(nn.Module, Optimizer, torch.Generator, Lifetime, Method, NoiseSource),
    *(type, Enum, FunctionType, BuiltinFunctionType, MethodType, functools.partial),
)
_NOTHING = ("nothing", None)


def state_of(hooks: Iterable[Hooks], model: nn.Module) -> list[Any]:
    """Of every technique what its hooks keep; ``torch.load(weights_only=True)`` reads it."""
    names: Names = {parameter: name for name, parameter in model.named_parameters()}
    device, seen = next(model.parameters()).device, set[int]()
    return [[_encoded(root, names, device, seen) for root in _roots(technique)] for technique in hooks]


def restore(hooks: Iterable[Hooks], model: nn.Module, state: list[Any]) -> None:
    """Puts :func:`state_of` a run into the techniques of another, prepared in the same way."""
    parameters, device = dict(model.named_parameters()), next(model.parameters()).device
    for technique, saved in zip(hooks, state, strict=True):
        for root, part in zip(_roots(technique), saved, strict=True):
            _decoded(part, root, parameters, device)


def _roots(hooks: Hooks) -> list[Any]:
    functions = [getattr(hooks, field.name) for field in fields(hooks)]
    return [held for function in functions if function is not None for held in _held_by(function)]


def _held_by(function: Callable[..., Any]) -> list[Any]:
    """The object of a bound method, or what a function encloses, under whatever decorators."""
    if isinstance(function, functools.partial):
        return [*_held_by(function.func), *function.args, *function.keywords.values()]
    if (owner := getattr(function, "__self__", None)) is not None:
        return [owner]
    return [cell.cell_contents for cell in getattr(inspect.unwrap(function), "__closure__", None) or ()]


def _encoded(value: Any, names: Names, device: torch.device, seen: set[int]) -> tuple[str, Any]:
    """A kind and plain data; each object once."""
    if value is None or isinstance(value, bool | int | float | str):
        return "value", value
    if isinstance(value, Tensor):
        if value in names:
            return "parameter", names[value]
        return "tensor" if value.device == device else "tensor elsewhere", value.detach().clone()
    if isinstance(value, list | tuple):
        return type(value).__name__, [_encoded(part, names, device, seen) for part in value]
    if isinstance(value, dict):
        pairs = [tuple(_encoded(part, names, device, seen) for part in pair) for pair in value.items()]
        return "dict", pairs
    if isinstance(value, _OF_THE_RUN) or not hasattr(value, "__dict__") or id(value) in seen or _is_frozen(value):
        return _NOTHING
    seen.add(id(value))
    return "object", {name: _encoded(part, names, device, seen) for name, part in vars(value).items()}


def _is_frozen(value: Any) -> bool:
    return bool(getattr(getattr(value, "__dataclass_params__", None), "frozen", False))


def _decoded(saved: tuple[str, Any], now: Any, parameters: Mapping[str, Tensor], device: torch.device) -> Any:
    """What takes the place of ``now``, which an object keeps, and so does what the run alone has."""
    kind, content = saved
    if kind == "object" and now is not None:  # else the run will make it
        for name, part in content.items():
            setattr(now, name, _decoded(part, getattr(now, name, None), parameters, device))
    elif kind in ("list", "tuple"):
        parts_now = now if isinstance(now, list | tuple) and len(now) == len(content) else [None] * len(content)
        parts = [_decoded(part, other, parameters, device) for part, other in zip(content, parts_now, strict=True)]
        return parts if kind == "list" else tuple(parts)
    elif kind == "dict":
        values_now = now if isinstance(now, dict) else {}
        keyed = [(_decoded(key, None, parameters, device), part) for key, part in content]
        return {key: _decoded(part, values_now.get(key), parameters, device) for key, part in keyed}
    elif kind == "parameter":
        return parameters[content]
    elif kind == "tensor":
        return content.to(device)
    return now if kind in ("object", "nothing") else content
