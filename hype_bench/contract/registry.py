"""Finds techniques by file, our own and those of plug-ins, and builds them from names and values."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from hype_bench.contract.card import Card, card_of
from hype_bench.contract.compose import check_together
from hype_bench.contract.method import Method
from hype_bench.contract.order import canonical_order
from hype_bench.contract.values import instance
from hype_bench.options import UserError
from hype_bench.plugins import Plugin, installed, plugin_of

T = TypeVar("T", bound=type[Method])
_FOLDER = "hype_bench.methods"  # by its name: what a technique is knows of none
_REGISTERED: dict[str, tuple[type[Method], dict[str, Any]]] = {}


def register(name: str, **fixed: Any) -> Callable[[T], T]:
    """Names a technique. One class may stand under several names, each fixing some of its fields.

    Raises:
        UserError: another module has registered the name.
    """

    def enter(cls: T) -> T:
        if not cls.__module__.startswith(f"{_FOLDER}."):
            _import_own()  # first, so that nobody takes the name of one of ours
        other = _REGISTERED[name][0].__module__ if name in _REGISTERED else cls.__module__
        if other != cls.__module__:
            raise UserError(f"{cls.__module__} registers {name!r}, a name that {other} has taken")
        _REGISTERED[name] = (cls, fixed)
        return cls

    return enter


def discover() -> dict[str, tuple[type[Method], dict[str, Any]]]:
    """Imports every technique and returns what they registered: name -> (class, fixed fields)."""
    import_plugins()
    return dict(sorted(_REGISTERED.items()))


def described() -> dict[str, Any]:
    """What has a card, by name: classes of techniques, and the functions that make soups of finished runs."""
    described: dict[str, Any] = {name: cls for name, (cls, _) in discover().items()}
    for module in _import_own():
        described |= getattr(module, "SOUPS", {})
    return dict(sorted(described.items()))


@cache
def cards() -> dict[str, Card]:
    """The card of each technique, by name."""
    return {name: card_of(technique) for name, technique in described().items()}


@cache
def import_plugins() -> dict[Plugin, str]:
    """Imports the techniques of every plug-in; returns why those that cannot be used are left out."""
    _import_own()
    problems = {plugin: _problem(plugin) for plugin in installed()}
    return {plugin: problem for plugin, problem in problems.items() if problem}


def plugins_of(methods: Mapping[str, Method]) -> dict[str, str]:
    """The package and the version of the numbers of each technique that a plug-in brings, as ``package 1``."""
    owners = {name: plugin_of(type(method).__module__) for name, method in methods.items()}
    return {name: f"{plugin.package} {methods[name].version}" for name, plugin in owners.items() if plugin}


def _problem(plugin: Plugin) -> str:
    before = dict(_REGISTERED)
    try:
        for module in plugin.methods():
            importlib.import_module(module)
        for name in _REGISTERED.keys() - before.keys():
            card_of(_REGISTERED[name][0])
    except Exception as error:  # whatever a stranger's module does wrong
        _REGISTERED.clear()
        _REGISTERED.update(before)
        reason = (str(error).strip().splitlines() or [""])[0]
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return f"the techniques of {plugin.title} are left out: {kind}{reason}"
    return ""


@cache
def _import_own() -> list[types.ModuleType]:
    """Every file of the folder of techniques."""
    folder = importlib.import_module(_FOLDER)
    names = [module.name for module in pkgutil.iter_modules(folder.__path__)]
    return [importlib.import_module(f"{_FOLDER}.{name}") for name in names]


def build(chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Method]:
    """Techniques from ``{name: {field: value}}``, in their canonical order.

    Raises:
        UserError: an unknown name or field, a value of the wrong type or out of range, two techniques that decide on
            the same thing, or one that does nothing beside others: the same numbers would have two identities.
    """
    methods = {name: _build_one(name, values) for name, values in chosen.items()}
    for name, method in methods.items():
        if method.neutral == {} and len(methods) > 1:
            raise UserError(f"{name} does nothing of its own: name the other techniques without it")
    check_together(methods)
    return canonical_order(methods)


def _build_one(name: str, values: Mapping[str, Any]) -> Method:
    known = discover()
    if name not in known:
        problems = "".join(f"; {problem}" for problem in import_plugins().values())
        raise UserError(f"there is no method {name!r}; there are {', '.join(known)}{problems}")
    cls, fixed = known[name]
    return instance(f"method.{name}", cls, values, fixed)
