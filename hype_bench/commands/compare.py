"""``hype-bench compare``: two runs beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.options import UserError
from hype_bench.output import show


def compare(
    a: Annotated[str, typer.Argument(help="A run: the name of its folder, or how that begins.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Another one of the same task.", metavar="B")],
    results_dir: ResultsDir = Path("results"),
) -> None:
    """Two runs: how they were set differently, what they score, and which examples they change."""
    existing(results_dir)
    from hype_bench.render.two_runs import two_runs_text
    from hype_bench.tables.two_runs import find_run

    first, second = find_run(results_dir, a), find_run(results_dir, b)
    labels = [record.label for _, record in (first, second)]
    if first[0].identity == second[0].identity:
        raise UserError(f"{a} and {b} are the same run")
    if (labels[0].task, labels[0].metric) != (labels[1].task, labels[1].metric):
        raise UserError(f"{labels[0].title} and {labels[1].title} are of different tasks or metrics")
    show(two_runs_text(first, second))
