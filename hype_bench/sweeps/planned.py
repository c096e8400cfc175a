"""The plan of an experiment on disk: which runs it is made of, and which cell of its table each belongs to.

<results>/experiments/<name>.json is written whenever the experiment is run; the last plan is what its table shows. A
scope other than the paper's has a plan of its own, <name>@<scope>.json. The file names the columns once and has a row
for every run, since there may be 100,000.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from hype_bench.options import UserError, check_file_name
from hype_bench.runs.reading import BrokenError, UnreadableError, broken, read_json
from hype_bench.runs.secrets import scrub_values
from hype_bench.runs.writing import write_atomically, writing_to
from hype_bench.sweeps.workload import Workload

ALL = "all"  # in place of an experiment's name: whatever runs are in the folder
_PAPER = "paper"  # the scope whose plans have no suffix


def plan_key(name: str, scope: str) -> str:
    """What verbs call a plan: ``table1``, or ``table1@smoke`` in another scope than the paper's."""
    return name if scope == _PAPER else f"{name}@{scope}"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run in one row of a table; the same run (``identity``) may stand in several.

    ``block``: a part of the table, such as a model; ``row``: the row's name where the experiment gives one;
    ``settings``: what tells it from other rows of its method; ``configuration``: its point of the search;
    ``is_default``: whether that point is what recipe and technique have without a search;
    ``overrides``: what starts it; ``problem``: why its identity is not known, if it is not; ``analysis``: what of the
    run is analysed, if anything is: ``task`` is then what tables call that; ``reads``: the identity of the run whose
    weights an analysis reads; ``workload``: what decides how long it takes, as the planner resolved it.
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
    analysis: str = ""
    reads: str = ""
    workload: Workload = Workload()

    @property
    def title(self) -> str:
        return " ".join(self.overrides)

    @property
    def key(self) -> str:
        """What tells it from other runs."""
        return self.identity or self.title


@dataclass(frozen=True)
class Plan:
    """``table``: the table of the paper that is regenerated, if any; ``search``: the axes that are searched; ``least``:
    how many seeds every cell gets, if it gets the others only while a verdict is open; 0: all are run. Only the runs
    that are called for are stored."""

    name: str
    title: str
    scope: str
    table: int | None
    search: list[str]
    command: str
    runs: list[PlannedRun] = field(default_factory=list)
    least: int = 0

    @property
    def key(self) -> str:
        return plan_key(self.name, self.scope)

    def once(self) -> Iterator[PlannedRun]:
        """Every run once, however many rows it stands in; those of one model and task together, as they share data."""
        order: dict[tuple[str, str], int] = {}
        for run in self.runs:
            order.setdefault((run.model, run.task), len(order))
        unique: dict[str, PlannedRun] = {}
        for run in self.runs:
            unique.setdefault(run.key, run)
        yield from sorted(unique.values(), key=lambda run: order[run.model, run.task])


_COLUMNS = [column.name for column in fields(PlannedRun)]
_KINDS = [int if kind is Workload else get_origin(kind) or kind for kind in get_type_hints(PlannedRun).values()]
_PLAN: dict[str, Any] = {
    **dict.fromkeys(("name", "title", "scope", "command"), str),
    "table": int | None,
    "search": list,
    "workloads": list,
    "runs": list,
}


def write_plan(results_dir: str | Path, plan: Plan) -> Path:
    """Writes the plan in one move.

    Raises:
        UserError: the results folder cannot be written to, or the experiment has a name that no file can have.
    """
    if plan.name == ALL:
        raise UserError(f"an experiment cannot be called {ALL!r}, which stands for all runs of a folder")
    path = _path(results_dir, plan.key)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(scrub_values(_stored(plan))) + "\n")
    return path


def _stored(plan: Plan) -> dict[str, Any]:
    """The content of the file; a workload is stored once, and its runs have its number."""
    numbers: dict[Workload, int] = {}
    rows = []
    for run in plan.runs:
        number = numbers.setdefault(run.workload, len(numbers))
        rows.append([number if column == "workload" else getattr(run, column) for column in _COLUMNS])
    head = {name: value for name, value in vars(plan).items() if name in _PLAN}
    return {**head, "columns": _COLUMNS, "workloads": [each.to_json() for each in numbers], "runs": rows}


def read_plan(results_dir: str | Path, name: str) -> Plan:
    """The last plan of an experiment.

    Args:
        name: a :attr:`Plan.key`; without a scope it also stands for the plan of the only scope that has one.

    Raises:
        UserError: there is none or more than one, or it cannot be read.
    """
    path = _path(results_dir, name)
    scopes = [] if path.exists() else [key for key in plans(results_dir) if key.startswith(f"{name}@")]
    if len(scopes) > 1:
        raise UserError(f"{name} has plans of several scopes in {results_dir}: name one of {', '.join(scopes)}")
    path = _path(results_dir, *scopes) if scopes else path
    try:
        return _plan_of(read_json(path))
    except FileNotFoundError:
        raise UserError(_no_plan(results_dir, name)) from None
    except UnreadableError:
        raise
    except ValueError as error:
        why = error if isinstance(error, BrokenError) else broken(path, str(error))
        raise UserError(f"{why}; {_run(name)} makes it again") from error


def _no_plan(results_dir: str | Path, name: str) -> str:
    from hype_bench.config import CONF

    planned = plans(results_dir)
    experiments = [path.stem for path in (CONF / "experiment").glob("*.yaml")]
    near = (
        [] if name.partition("@")[0] in experiments else difflib.get_close_matches(name, [*planned, *experiments], n=1)
    )
    way_out = f"did you mean {near[0]}?" if near else f"{_run(name)} makes one"
    return f"experiment {name} has no plan in {results_dir} (there are: {', '.join(planned) or 'none'}); {way_out}"


def _run(key: str) -> str:
    name, _, scope = key.partition("@")
    return f"hype-bench run -m experiment={name}" + (f" scope={scope}" if scope else "")


def _plan_of(stored: Any) -> Plan:
    """Raises ValueError if it is not a plan."""
    if not isinstance(stored, dict) or stored.pop("columns", None) != _COLUMNS:
        raise ValueError("it is of another version")
    if stored.keys() != _PLAN.keys() or not all(isinstance(stored[name], kind) for name, kind in _PLAN.items()):
        raise ValueError("it is not a plan")
    if not all(isinstance(axis, str) for axis in stored["search"]):
        raise ValueError("its search does not name axes")
    workloads = list(map(Workload.from_json, stored.pop("workloads")))
    return Plan(**{**stored, "runs": [_run_of(row, workloads) for row in stored["runs"]]})


def _run_of(row: Any, workloads: list[Workload]) -> PlannedRun:
    if not isinstance(row, list) or list(map(type, row)) != _KINDS:
        raise ValueError("one of its runs is not a run")
    if not 0 <= row[-1] < len(workloads):
        raise ValueError("one of its runs has no workload")
    run = PlannedRun(*[*row[:-1], workloads[row[-1]]])
    if set(map(type, (*run.settings.values(), *run.configuration.values(), *run.overrides))) - {str}:
        raise ValueError("a setting of one of its runs is not a text")
    if run.identity:
        check_file_name("a run", run.identity)
    return run


def plans(results_dir: str | Path) -> list[str]:
    """The names of the experiments that have a plan."""
    return sorted(path.stem for path in (Path(results_dir) / "experiments").glob("*.json"))


def _path(results_dir: str | Path, name: str) -> Path:
    check_file_name("an experiment", name)
    return Path(results_dir) / "experiments" / f"{name}.json"
