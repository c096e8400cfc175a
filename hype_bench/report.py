"""The table of an experiment as a user reads it; what ``hype-bench table NAME`` and the end of a sweep print."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.runs.status import RunStatus, read_named
from hype_bench.sweeps.planned import Plan, read_plan
from hype_bench.tables.compare import BUDGET, PAPER, against_method, against_paper, at_same_budget
from hype_bench.tables.experiment import collapsed, experiment_tables, results
from hype_bench.tables.selection import RULES
from hype_bench.tables.sheet import Sheet, to_html, to_latex, to_markdown, to_text
from hype_bench.tables.table import Table
from hype_bench.tables.text import CAPTION, sheets, to_csv

_WRITERS = {"text": to_text, "markdown": to_markdown, "latex": to_latex, "html": to_html}


def report(results_dir: str | Path, name: str, format: str, rule: str = "paper", compare: str | None = None) -> str:
    """An experiment's table and, if asked for, what it is compared with.

    Args:
        rule: a key of :data:`hype_bench.tables.selection.RULES`.
        compare: ``paper``, ``budget`` (the expected best of equally many configurations), or the title of a row.

    Raises:
        UserError: there is no plan of that name, nothing to compare with, or records of two code formats.
    """
    plan = read_plan(results_dir, name)
    statuses = statuses_of(results_dir, plan)
    _of_one_format(statuses)
    found = results(plan, statuses, rule)
    tables = experiment_tables(plan, statuses, found)
    caption = _caption(plan, statuses, rule)
    compared: list[Sheet] = []
    if compare == PAPER:
        compared = against_paper(plan, found, _subsets(tables))
    elif compare == BUDGET:
        compared = at_same_budget(found)
    elif compare:
        compared = against_method(plan, statuses, found, compare)
    if format == "csv":
        return "\n\n".join([to_csv(tables, caption, intervals=True), *map(_lines, compared)])
    return _WRITERS[format]([*sheets(tables), *compared], caption)


def statuses_of(results_dir: str | Path, plan: Plan) -> dict[str, RunStatus]:
    """Identity -> what became of it, for the runs of the plan that have begun."""
    names = dict.fromkeys(run.identity for run in plan.runs if run.identity)
    return {run.identity: run for run in read_named(results_dir, names)}


def _of_one_format(statuses: Mapping[str, RunStatus]) -> None:
    formats = {str(run.record["parts"].get("format")) for run in statuses.values() if run.record}
    if len(formats) > 1:
        raise UserError(
            f"the records are of code formats {' and '.join(sorted(formats))}: their numbers are not comparable; "
            "run the experiment again, and only what is of an older format is repeated"
        )


def _caption(plan: Plan, statuses: Mapping[str, RunStatus], rule: str) -> str:
    search = f"search over {', '.join(plan.search)}: {RULES[rule][1]}" if plan.search else "no search"
    scope = "" if plan.scope == "paper" else f"; scope {plan.scope}"
    diverged = collapsed(plan, statuses)
    counted = f"; {diverged} diverged" if diverged else ""
    return f"{plan.name}{scope}; rule {rule}: {search}{counted}. {CAPTION}"


def _subsets(tables: Sequence[Table]) -> set[str]:
    """The tasks of which only a part of the data was there."""
    return {task for table in tables for note in table.notes if note.text.startswith("subset") for task in note.tasks}


def _lines(compared: Sheet) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([compared.heading, *compared.headers])
    writer.writerows(compared.plain())
    return text.getvalue().rstrip("\n")
