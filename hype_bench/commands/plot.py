"""``hype-bench plot``: pictures of an experiment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Rule, report_problems
from hype_bench.options import UserError
from hype_bench.output import say
from hype_bench.render.plots import KINDS
from hype_bench.sweeps.planned import ALL

Kind = StrEnum("Kind", list(KINDS))  # type: ignore[misc]


def plot(
    kind: Annotated[Kind, typer.Argument(help="; ".join(f"{name}: {what}" for name, what in KINDS.items()) + ".")],
    experiment: Annotated[str, typer.Argument(help="Such as table1; without it, all runs of the folder.")] = ALL,
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="Which configuration of a search counts.")] = Rule.paper,  # type: ignore[attr-defined]
    margin: Annotated[float, typer.Option(help="Of an answer: points below which a difference does not matter.")] = 0.5,
) -> None:
    """Draw an experiment, as PDF and PNG: answer, seeds, curves, budget, ranks, distance from the paper."""
    from hype_bench.render.plots import draw
    from hype_bench.render.plots.style import save
    from hype_bench.render.report import read_experiment
    from hype_bench.runs.writing import file_name, writing_to

    read = read_experiment(existing(results_dir), experiment, rule.value)
    figures = draw(kind.value, read, margin / 100)
    if not figures:
        raise UserError(f"{experiment} has nothing to draw as {kind.value}: none of its runs has ended")
    folder = results_dir / "plots" / read.plan.key
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            pdf, png = save(figure, folder / file_name(f"{kind.value} {name}"))
            say(f"{pdf}, {png.name}")
    report_problems(read.statuses.values(), [], every_run_has_a_cell=True)
