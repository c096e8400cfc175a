"""Two records of one seed; cells that mix machines and versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hype_bench.render.text import write
from hype_bench.runs.frame import tidy
from hype_bench.runs.identity import digest
from hype_bench.runs.record import Record
from hype_bench.runs.status import RunStatus
from hype_bench.tables.same_seed import mixtures
from hype_bench.tables.table import build_tables
from tests.runs.records import record_of
from tests.tables.test_table import make_run


def named(run: RunStatus) -> RunStatus:
    """In the folder of its identity."""
    assert run.record is not None
    return replace(run, identity=digest(dict(run.record.parts)))


def test_a_copy_under_another_name_does_not_count() -> None:
    own, copy = named(make_run(0.6)), replace(make_run(0.99), identity="backup")
    for runs in ([own, copy], [copy, own]):
        text = write(build_tables(runs))
        assert "60.00 (1, 1 not counted)" in text
        both = ", ".join(run.identity for run in runs)
        assert f"hype_n rte: seed 1 has 2 records ({both}), of which {own.identity} counts" in text.replace("\n  ", " ")


def test_of_two_copies_neither_counts() -> None:
    copies = [replace(make_run(score), identity=name) for score, name in ((0.6, "a"), (0.9, "b"))]
    text = write(build_tables([*copies, named(make_run(0.7, seed=2))]))
    assert "70.00 (1, 2 not counted)" in text
    assert "seed 1 has 2 records (a, b), of which none of them counts" in text
    assert "X (2 not counted)" in write(build_tables(copies))


def mixture(*facts: dict[str, Any]) -> list[str]:
    """What is said of a cell whose runs have these facts."""
    records = [Record.trusted({**record_of(seed=seed), **more}) for seed, more in enumerate(facts)]
    runs = tidy([RunStatus(str(record.label.seed), record.status, Path(), record) for record in records])
    return list(mixtures(runs, ["task", "variant"]).values())


MACHINES = [
    ({"device": "cuda", "threads": 4}, {"device": "cuda", "threads": 8}, []),
    ({"device": "cpu", "threads": 4}, {"device": "cpu", "threads": 8}, ["its runs differ in threads 4, 8"]),
    ({"device": "cpu", "threads": 4}, {"device": "mps", "threads": 8}, ["its runs differ in device cpu, mps"]),
    ({"device": "cpu", "threads": 4, "host": "a"}, {"device": "cpu", "threads": 4, "host": "b"}, []),
    ({"device": "cpu"}, {"device": "cpu", "threads": 4}, ["its runs differ in threads 4, unknown"]),
    ({"device": "cpu", "threads": 4}, {"threads": 8}, ["its runs differ in device cpu, unknown"]),
    ({}, {"device": "cpu", "threads": 4}, ["its runs differ in device cpu, unknown"]),
]


@pytest.mark.parametrize(("one", "other", "remarks"), MACHINES)
def test_what_a_cell_mixes(one: Any, other: Any, remarks: list[str]) -> None:
    assert mixture(*({"machine": machine} for machine in (one, other, one))) == remarks


def test_versions_are_told_by_name() -> None:
    versions = [{"versions": {"torch": torch, "numpy": "2"}} for torch in ("2.12", "2.13", "2.12")]
    assert mixture(*versions) == ["its runs differ in torch 2.12, 2.13"]
    versions[0] = {"versions": {"torch": "2.12", "numpy": "1"}, "machine": {"device": "cpu"}}
    (both,) = mixture(*versions)
    assert sorted(both.removeprefix("its runs differ in ").split("; ")) == [
        "device cpu, unknown",
        "numpy 1, 2",
        "torch 2.12, 2.13",
    ]
