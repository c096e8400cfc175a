"""``hype-bench plan``: what an experiment would run, and what it costs."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from hype_bench.commands.arguments import report_problems
from hype_bench.output import show
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import read_runs


def plan(
    overrides: Annotated[
        list[str],
        typer.Argument(help="table1, table1@smoke, or as for hype-bench run: experiment=table1 ..."),
    ],
) -> None:
    """What an experiment would run, what is done, and what it costs.

    Nothing is run, and no table changes.
    """
    from hype_bench.launch.arguments import only_prints, overrides_to_plan
    from hype_bench.launch.errors import composition_errors
    from hype_bench.launch.plan import plan_of
    from hype_bench.launch.seeds import called_for
    from hype_bench.render.plan import at_most, plan_text
    from hype_bench.sweeps.planned import plans, write_plan

    overrides = [*_named(overrides[0]), *overrides[1:]]
    if only_prints(overrides):
        from hype_bench.launch.main import main as start

        sys.argv = ["hype-bench plan", *(word for word in overrides if word not in ("-m", "--multirun"))]
        start()
        return
    with composition_errors():
        planned, results_dir = plan_of(overrides_to_plan(overrides))
        runs = {run.identity: run for run in read_runs(results_dir)}
        called = called_for(planned, runs)
        if called.key not in plans(results_dir) and any(run.identity in runs for run in called.runs):
            write_plan(results_dir, called)  # of records from elsewhere: hype-bench table shows them
        show(scrub("\n".join([plan_text(called, runs), *at_most(planned, runs)])))
    report_problems(runs.values(), [], every_run_has_a_cell=True)


def _named(word: str) -> list[str]:
    """An experiment as tables name it, ``table1@smoke``; anything else as it is."""
    if not re.fullmatch(r"\w+(@\w+)?", word):
        return [word]
    name, _, scope = word.partition("@")
    return [f"experiment={name}", *([f"scope={scope}"] if scope else [])]
