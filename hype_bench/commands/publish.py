"""``hype-bench publish``: an experiment's table and workspace to W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Rule, report_problems
from hype_bench.output import say
from hype_bench.sweeps.planned import ALL


def publish(
    experiment: Annotated[str, typer.Argument(help="Such as table1; without it, all runs of the folder.")] = ALL,
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="Which configuration of a search counts.")] = Rule.paper,  # type: ignore[attr-defined]
    project: Annotated[str, typer.Option(help="The W&B project.", envvar="WANDB_PROJECT")] = "hype_bench",
    entity: Annotated[str | None, typer.Option(help="The W&B user or team.", envvar="WANDB_ENTITY")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Also upload runs that are not on W&B yet.")] = False,
) -> None:
    """Send an experiment's table and workspace to W&B.

    Without a network or a key it writes the upload to disk, and says how to sync it.
    """
    from hype_bench.render.report import read_experiment
    from hype_bench.render.upload import publish as send

    read = read_experiment(existing(results_dir), experiment, rule.value)
    for line in send(results_dir, read, project, entity, runs):
        say(line)
    report_problems(read.statuses.values(), [], every_run_has_a_cell=True)
