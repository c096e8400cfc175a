"""What several verbs share: the selection rule, and the report of files at fault."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum

import typer

from hype_bench.output import say
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import UNREADABLE, RunStatus
from hype_bench.tables.selection import RULES

Family = StrEnum("Family", ["task", "table"])
Correction = StrEnum("Correction", ["holm", "bh"])
Rule = StrEnum("Rule", list(RULES))  # type: ignore[misc]


def report_problems(runs: Iterable[RunStatus], complaints: list[str], every_run_has_a_cell: bool) -> None:
    """Names every file that could not be read or is at fault.

    Args:
        complaints: about files without which a comparison is incomplete.
        every_run_has_a_cell: whether the table shows every run, whatever its files hold.

    Raises:
        typer.Exit: with 1 if a run, or a score that it may have, is missing from the table.
    """
    problems = [run for run in runs if run.problem]
    for run in problems:
        say(f"warning: {run.problem}", to=sys.stderr)
    for complaint in complaints:
        say(f"error: {scrub(complaint)}", to=sys.stderr)
    if complaints or any(run.state == UNREADABLE or not (every_run_has_a_cell or run.request) for run in problems):
        raise typer.Exit(1)
