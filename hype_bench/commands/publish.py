"""``hype-bench publish``: an experiment's table and workspace to W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Rule
from hype_bench.output import say


def publish(
    experiment: Annotated[str, typer.Argument(help="An experiment that has a plan, such as table1.")],
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="What a search reports.")] = Rule.paper,  # type: ignore[attr-defined]
    project: Annotated[str, typer.Option(help="Of W&B, where its runs are.", envvar="WANDB_PROJECT")] = "hype_bench",
    entity: Annotated[str | None, typer.Option(help="Of W&B: a user or a team.", envvar="WANDB_ENTITY")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Also the runs that W&B has not seen.")] = False,
) -> None:
    """Send an experiment's table and workspace to W&B.

    Without a network or a key it writes what it would send, and says how to sync.
    """
    from hype_bench.render.upload import publish as send

    for line in send(existing(results_dir), experiment, rule.value, project, entity, runs):
        say(line)
