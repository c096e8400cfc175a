"""The table of an experiment as a user reads it; what ``hype-bench table NAME`` and the end of a sweep print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.render import table_csv
from hype_bench.render.comparisons import compare
from hype_bench.render.text import CAPTION, sheets
from hype_bench.render.writers import WRITERS
from hype_bench.runs.status import RunStatus, read_named, read_runs
from hype_bench.sweeps.planned import ALL, Plan, read_plan
from hype_bench.tables.all_runs import plan_of_runs
from hype_bench.tables.compare import DEFAULT, Criteria
from hype_bench.tables.experiment import Place, Result, collapsed, experiment_tables, results
from hype_bench.tables.majority import with_majority
from hype_bench.tables.selection import RULES
from hype_bench.tables.table import Table


@dataclass(frozen=True)
class Experiment:
    """An experiment's cells under one rule. ``statuses``: identity -> what became of the run, if it has begun."""

    plan: Plan
    rule: str
    statuses: dict[str, RunStatus]
    results: dict[Place, Result]

    @cached_property
    def tables(self) -> list[Table]:
        return experiment_tables(self.plan, self.results)

    @property
    def caption(self) -> str:
        """Which selection stands behind the numbers, and what they are."""
        plan = self.plan
        search = f"search over {', '.join(plan.search)}: {RULES[self.rule][1]}" if plan.search else "no search"
        scope = "" if plan.scope == "paper" else f"; scope {plan.scope}"
        name = "all runs" if plan.name == ALL else plan.name
        n = collapsed(self.statuses)
        diverged = f"; {n} diverged" if n else ""
        return f"{name}{scope}; rule {self.rule}: {search}{diverged}. {CAPTION}"


def read_experiment(results_dir: str | Path, name: str, rule: str) -> Experiment:
    """The records of an experiment, cell by cell.

    Args:
        name: a plan's, or :data:`ALL` for all runs of the folder.
        rule: a key of :data:`hype_bench.tables.selection.RULES`.

    Raises:
        UserError: there is no plan of that name, or records of two code formats.
    """
    if name == ALL:
        statuses = {run.identity: run for run in read_runs(results_dir)}
        plan = plan_of_runs(statuses.values())
    else:
        plan = read_plan(results_dir, name)
        names = sorted({run.identity for run in plan.runs if run.identity})
        statuses = {run.identity: run for run in read_named(results_dir, names)}
    _check_format(statuses)
    return Experiment(plan, rule, statuses, results(plan, statuses, rule))


@dataclass(frozen=True)
class Report:
    """``complaints``: damaged files, without which it is incomplete."""

    text: str
    complaints: list[str]


def report(
    experiment: Experiment,
    format: str,
    baseline: str | None = None,
    intervals: bool = False,
    criteria: Criteria = DEFAULT,
    majority: bool = False,
) -> Report:
    """The table in words and, if asked for, what it is compared with.

    Args:
        baseline: ``paper``, ``budget`` (the expected best of equally many configurations), ``ranks`` (over all tasks),
            ``signal`` (which tasks can tell rows apart), or the title of a row.
        criteria: how differences are judged.
        intervals: also Student's 95 % interval of every mean; CSV has it anyway.
        majority: also a row of what the most frequent class would score.

    Raises:
        UserError: there is nothing to compare with.
    """
    comparison = compare(experiment.plan, experiment.results, baseline, criteria)
    tables = with_majority(experiment.tables, experiment.results) if majority else experiment.tables
    if format == "csv":
        rows = table_csv.cell_rows(tables, experiment.results, comparison.columns)
        return Report(table_csv.to_csv(rows).rstrip("\n"), comparison.complaints)
    shown = [*sheets(tables, intervals), *comparison.sheets]
    return Report(WRITERS[format](shown, experiment.caption), comparison.complaints)


def _check_format(statuses: Mapping[str, RunStatus]) -> None:
    formats = {str(run.record.format) for run in statuses.values() if run.record}
    if len(formats) > 1:
        raise UserError(
            f"the records are of code formats {' and '.join(sorted(formats))}: their numbers are not comparable; "
            "run the experiment again: only runs of an older format are repeated"
        )
