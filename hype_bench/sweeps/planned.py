"""The plan of an experiment on disk: which runs it is made of, and which cell of its table each belongs to.

<results>/experiments/<name>.json is written whenever the experiment is planned; the last plan is what its table shows.
It names the columns once and has a row for every run, since there may be 100,000.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hype_bench.options import UserError
from hype_bench.runs.folder import write_atomically, writing_to
from hype_bench.runs.secrets import scrub_values


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run in one row of a table; the same run (``identity``) may stand in several.

    ``block``: a part of the table, such as a model; ``row``: the row's name where the experiment gives one;
    ``settings``: what tells it from other rows of its method; ``configuration``: its point of the search;
    ``is_default``: whether that point is what recipe and technique have without a search;
    ``overrides``: what starts it; ``problem``: why its identity is not known, if it is not.
    """

    identity: str
    block: str
    model: str
    task: str
    metric: str
    method: str
    row: str
    settings: dict[str, str]
    configuration: dict[str, str]
    is_default: bool
    seed: int
    overrides: list[str]
    problem: str = ""

    @property
    def title(self) -> str:
        return " ".join(self.overrides)


@dataclass(frozen=True)
class Plan:
    """``table``: the table of the paper that is regenerated, if any; ``search``: the axes that are searched."""

    name: str
    title: str
    scope: str
    table: int | None
    search: list[str]
    command: str
    runs: list[PlannedRun] = field(default_factory=list)

    def once(self) -> Iterator[PlannedRun]:
        """Every run once, however many rows it stands in; those of one model and task together, as they share data."""
        order: dict[tuple[str, str], int] = {}
        for run in self.runs:
            order.setdefault((run.model, run.task), len(order))
        unique: dict[str, PlannedRun] = {}
        for run in self.runs:
            unique.setdefault(run.identity or run.title, run)
        yield from sorted(unique.values(), key=lambda run: order[run.model, run.task])


_COLUMNS = [column.name for column in fields(PlannedRun)]


def write_plan(results_dir: str | Path, plan: Plan) -> Path:
    """Writes the plan in one move.

    Raises:
        UserError: the results folder cannot be written to.
    """
    path = _path(results_dir, plan.name)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[getattr(run, column) for column in _COLUMNS] for run in plan.runs]
        content = scrub_values({**vars(plan), "columns": _COLUMNS, "runs": rows})
        write_atomically(path, json.dumps(content) + "\n")
    return path


def read_plan(results_dir: str | Path, name: str) -> Plan:
    """The last plan of an experiment.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = _path(results_dir, name)
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("columns", None) != _COLUMNS:
            raise ValueError("it is of another version")
        return Plan(**{**stored, "runs": [PlannedRun(*row) for row in stored["runs"]]})
    except FileNotFoundError:
        known = ", ".join(plans(results_dir)) or "none"
        raise UserError(
            f"experiment {name} has no plan in {results_dir} (there are: {known}); "
            f"hype-bench plan experiment={name} makes one"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is broken ({error}); hype-bench plan experiment={name} makes it again") from error


def plans(results_dir: str | Path) -> list[str]:
    """The names of the experiments that have a plan."""
    return sorted(path.stem for path in (Path(results_dir) / "experiments").glob("*.json"))


def _path(results_dir: str | Path, name: str) -> Path:
    return Path(results_dir) / "experiments" / f"{name}.json"
