"""The contract that every technique holds to, for the author of a plug-in: ``pytest --pyargs hype_bench.testing``.

Tests whose argument is ``name`` run for every technique in the ``NAMES`` of their module: those of installed plug-ins.
"""

from __future__ import annotations

from typing import Any

from hype_bench.contract import discover
from hype_bench.plugins import plugin_of


def techniques_of_plugins() -> list[str]:
    return [name for name, (cls, _) in discover().items() if plugin_of(cls.__module__)]


def pytest_generate_tests(metafunc: Any) -> None:
    """A hook of pytest's, where a module of tests imports it."""
    names = metafunc.module.NAMES
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names)
    if "neutral_name" in metafunc.fixturenames:  # of a technique that has options with which it does nothing
        metafunc.parametrize("neutral_name", [name for name in names if discover()[name][0].neutral is not None])
