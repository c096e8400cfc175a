"""A plan on disk is one that can be relied on, or a line that says how to make it again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hype_bench.options import UserError
from hype_bench.sweeps.planned import Plan, PlannedRun, read_plan, write_plan
from hype_bench.sweeps.workload import Workload

RUN = PlannedRun(
    "0123456789abcdef", "m", "m", "rte", "accuracy", "vanilla", "", {}, {"rate": "2e-5"}, True, 1, ["seed=1"], "", "",
    "fedcba9876543210", Workload((("training.packing", "auto"),), (("training.epochs", 3.0),), (("freelb.steps", 3),)),
)  # fmt: skip
PLAN = Plan("mine", "Mine", "paper", 1, ["training.learning_rate"], "python run.py", [RUN])


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_plan(tmp_path, PLAN)
    assert read_plan(tmp_path, "mine") == PLAN


def test_each_scope_has_its_own_plan(tmp_path: Path) -> None:
    """A name without a scope is the paper's plan, or that of the only scope there is."""
    smoke = replace(PLAN, scope="smoke")
    write_plan(tmp_path, smoke)
    assert read_plan(tmp_path, "mine") == read_plan(tmp_path, "mine@smoke") == smoke
    write_plan(tmp_path, replace(PLAN, scope="small"))
    with pytest.raises(UserError, match=r"name one of mine@small, mine@smoke$"):
        read_plan(tmp_path, "mine")
    write_plan(tmp_path, PLAN)
    assert read_plan(tmp_path, "mine") == PLAN
    assert read_plan(tmp_path, "mine@smoke") == smoke
    with pytest.raises(UserError, match=r"hype-bench run -m experiment=table9 scope=smoke makes one$"):
        read_plan(tmp_path, "table9@smoke")


@pytest.mark.parametrize("content", ["null", '"x"', "5", "[]", "{}", "{", "[" * 100_000, '{"columns": []}', b"\xff"])
def test_what_is_no_plan_is_named_in_one_line(tmp_path: Path, content: str | bytes) -> None:
    path = write_plan(tmp_path, PLAN)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        UserError, match=rf"^{path} is broken \(.+\); hype-bench run -m experiment=mine makes it again$"
    ):
        read_plan(tmp_path, "mine")


@pytest.mark.parametrize("place", [*range(14), "name", "search", "runs", "table", "title", "workloads"])
def test_no_part_of_a_plan_may_be_of_another_kind(tmp_path: Path, place: int | str) -> None:
    path = write_plan(tmp_path, PLAN)
    for value in (None, 1.5, {"a": [1]}, [[1]]):
        if (place, value) == ("table", None):
            continue
        stored: dict[str, Any] = json.loads(path.read_text())
        (stored if isinstance(place, str) else stored["runs"][0])[place] = value
        (tmp_path / "experiments" / "other.json").write_text(json.dumps(stored))
        with pytest.raises(UserError, match="is broken"):
            read_plan(tmp_path, "other")


def test_a_fifo_in_the_place_of_a_plan_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    os.mkfifo(tmp_path / "experiments" / "mine.json")
    with pytest.raises(UserError, match="it is not a regular file"):
        read_plan(tmp_path, "mine")


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "..", "", "a\nb"])
def test_an_experiment_has_the_name_of_a_file(tmp_path: Path, name: str) -> None:
    results = tmp_path / "deep" / "results"
    with pytest.raises(UserError, match="is not the name of a file"):
        write_plan(results, Plan(**{**vars(PLAN), "name": name}))
    with pytest.raises(UserError, match="is not the name of a file"):
        read_plan(results, name)
    assert list(tmp_path.iterdir()) == []


def test_no_run_of_a_plan_lies_elsewhere(tmp_path: Path) -> None:
    path = write_plan(tmp_path, PLAN)
    path.write_text(path.read_text().replace(RUN.identity, "../../evil"))
    with pytest.raises(UserError, match="is not the name of a file"):
        read_plan(tmp_path, "mine")
