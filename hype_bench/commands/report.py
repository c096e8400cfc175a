"""``hype-bench report``: experiments and runs as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Rule, report_problems
from hype_bench.output import counted, say


def report(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Such as table1; without one, all, and all runs.")
    ] = None,
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="Which configuration of a search counts.")] = Rule.paper,  # type: ignore[attr-defined]
) -> None:
    """Write a page to open in a browser: experiments, pictures, every run.

    It asks nothing of any network. Beside it lies a page for each run, with its curve and its worst predictions; those
    have texts of the data.
    """
    from hype_bench.render.page.build import write_report

    written = write_report(existing(results_dir), experiments or [], rule.value)
    say(f"{written.page}: {counted(len(written.runs), 'run')}")
    report_problems(written.runs, written.complaints, every_run_has_a_cell=True)
