"""An experiment is planned under the name by which its table is called."""

from __future__ import annotations

import pytest

from hype_bench.commands.plan import _named


@pytest.mark.parametrize(
    ("word", "overrides"),
    [
        ("table1", ["experiment=table1"]),
        ("table1@smoke", ["experiment=table1", "scope=smoke"]),
        ("experiment=table1", ["experiment=table1"]),
        ("-m", ["-m"]),
        ("--help", ["--help"]),
    ],
)
def test_a_name_stands_for_an_experiment_and_its_scope(word: str, overrides: list[str]) -> None:
    assert _named(word) == overrides
