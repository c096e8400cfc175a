"""``hype-bench compare``: two runs, or two methods, beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import report_problems
from hype_bench.options import UserError
from hype_bench.output import show


def compare(
    a: Annotated[str, typer.Argument(help="A run: the name of its folder, or how that begins.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Another one of the same task.", metavar="B")],
    results_dir: ResultsDir = Path("results"),
    experiment: Annotated[
        str | None, typer.Option(help="A and B are two methods, as the table of this experiment calls them.")
    ] = None,
) -> None:
    """Two runs or methods: how they were set differently, what they score, and which examples they change.

    Methods seed by seed: hype-bench compare hype_n vanilla --experiment table1.
    """
    existing(results_dir)
    if experiment is None:
        _runs(results_dir, a, b)
    else:
        _methods(results_dir, experiment, a, b)


def _runs(results_dir: Path, a: str, b: str) -> None:
    from hype_bench.render.two_runs import two_runs_text
    from hype_bench.tables.two_runs import find_run

    first, second = (find_run(results_dir, name, "; for two methods add --experiment") for name in (a, b))
    labels = [record.label for _, record in (first, second)]
    if first[0].identity == second[0].identity:
        raise UserError(f"{a} and {b} are the same run")
    if (labels[0].task, labels[0].metric) != (labels[1].task, labels[1].metric):
        raise UserError(f"{labels[0].title} and {labels[1].title} are of different tasks or metrics")
    show(two_runs_text(first, second))


def _methods(results_dir: Path, experiment: str, a: str, b: str) -> None:
    from hype_bench.render.report import read_experiment
    from hype_bench.render.two_runs import two_rows_text
    from hype_bench.tables.two_rows import two_rows

    read = read_experiment(results_dir, experiment, "paper")
    tasks, left_out = two_rows(read.plan, read.results, a, b)
    show(two_rows_text(a, b, tasks, left_out))
    complaints = [text for on in tasks for text in on.complaints]
    report_problems(read.statuses.values(), complaints, every_run_has_a_cell=True)
