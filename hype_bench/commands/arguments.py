"""What several verbs take and tell."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum

import typer

from hype_bench.output import say
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import UNREADABLE, RunStatus
from hype_bench.tables.selection import RULES

Rule = StrEnum("Rule", list(RULES))  # type: ignore[misc]


def report_problems(runs: Iterable[RunStatus], complaints: list[str], all_are_placed: bool) -> None:
    """Names every file that could not be read or is at fault.

    Args:
        complaints: about files for which a comparison is not whole.
        all_are_placed: whether the table has a cell for every run, whatever its files say.

    Raises:
        typer.Exit: with 1 if a run is in no cell for it, or may have a score that is not in its cell.
    """
    problems = [run for run in runs if run.problem]
    for run in problems:
        say(f"warning: {run.problem}", to=sys.stderr)
    for complaint in complaints:
        say(f"error: {scrub(complaint)}", to=sys.stderr)
    if complaints or any(run.state == UNREADABLE or not (all_are_placed or run.request) for run in problems):
        raise typer.Exit(1)
