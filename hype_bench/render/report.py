"""The table of an experiment as a user reads it; what ``hype-bench table NAME`` and the end of a sweep print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hype_bench import output
from hype_bench.options import UserError
from hype_bench.render.text import CAPTION, sheets, to_csv
from hype_bench.render.writers import to_html, to_latex, to_markdown, to_text
from hype_bench.runs.status import RunStatus, read_named
from hype_bench.sweeps.planned import Plan, read_plan
from hype_bench.tables.beside_paper import PAPER, against_paper
from hype_bench.tables.budget import BUDGET, at_same_budget
from hype_bench.tables.compare import against_method
from hype_bench.tables.experiment import Place, Result, collapsed, experiment_tables, results
from hype_bench.tables.selection import RULES
from hype_bench.tables.sheet import Sheet
from hype_bench.tables.table import Table

_WRITERS = {"text": to_text, "markdown": to_markdown, "latex": to_latex, "html": to_html}


@dataclass(frozen=True)
class Tabulated:
    """An experiment's cells under one rule. ``statuses``: identity -> what became of the run, if it has begun."""

    plan: Plan
    rule: str
    statuses: dict[str, RunStatus]
    found: dict[Place, Result]

    @cached_property
    def tables(self) -> list[Table]:
        return experiment_tables(self.plan, self.statuses, self.found)


def tabulate(results_dir: str | Path, name: str, rule: str) -> Tabulated:
    """Puts the records of an experiment into its table.

    Args:
        rule: a key of :data:`hype_bench.tables.selection.RULES`.

    Raises:
        UserError: there is no plan of that name, or records of two code formats.
    """
    plan = read_plan(results_dir, name)
    names = sorted({run.identity for run in plan.runs if run.identity})
    statuses = {run.identity: run for run in read_named(results_dir, names)}
    _of_one_format(statuses)
    return Tabulated(plan, rule, statuses, results(plan, statuses, rule))


@dataclass(frozen=True)
class Report:
    """``complaints``: files that are at fault, for which it is incomplete."""

    text: str
    complaints: list[str]


def report(made: Tabulated, format: str, compare: str | None = None, intervals: bool = False) -> Report:
    """The table in words and, if asked for, what it is compared with.

    Args:
        compare: ``paper``, ``budget`` (the expected best of equally many configurations), or the title of a row.
        intervals: also Student's 95 % interval of every mean; CSV has it anyway.

    Raises:
        UserError: there is nothing to compare with.
    """
    caption, compared = _caption(made), _compared(made, compare)
    complaints = list(dict.fromkeys(text for sheet in compared for text in sheet.complaints))
    if format == "csv":
        return Report("\n\n".join([to_csv(made.tables, caption, intervals=True), *map(_lines, compared)]), complaints)
    return Report(_WRITERS[format]([*sheets(made.tables, intervals), *compared], caption), complaints)


def _compared(made: Tabulated, compare: str | None) -> list[Sheet]:
    if compare == PAPER:
        return against_paper(made.plan, made.found)
    if compare == BUDGET:
        return at_same_budget(made.found)
    return against_method(made.plan, made.found, compare) if compare else []


def _of_one_format(statuses: Mapping[str, RunStatus]) -> None:
    formats = {str(run.record["parts"].get("format")) for run in statuses.values() if run.record}
    if len(formats) > 1:
        raise UserError(
            f"the records are of code formats {' and '.join(sorted(formats))}: their numbers are not comparable; "
            "run the experiment again, and only what is of an older format is repeated"
        )


def _caption(made: Tabulated) -> str:
    plan = made.plan
    search = f"search over {', '.join(plan.search)}: {RULES[made.rule][1]}" if plan.search else "no search"
    scope = "" if plan.scope == "paper" else f"; scope {plan.scope}"
    diverged = collapsed(made.statuses)
    counted = f"; {diverged} diverged" if diverged else ""
    return f"{plan.name}{scope}; rule {made.rule}: {search}{counted}. {CAPTION}"


def _lines(compared: Sheet) -> str:
    return output.to_csv([[compared.heading, *compared.headers], *compared.plain()]).rstrip("\n")
