"""``hype-bench table``: mean and std over seeds."""

from __future__ import annotations

import gc
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Correction, Family, Rule, report_problems
from hype_bench.output import show
from hype_bench.render.text import FORMATS, write
from hype_bench.runs.status import read_runs
from hype_bench.tables.table import build_tables

Format = StrEnum("Format", list(FORMATS))  # type: ignore[misc]


def table(
    experiment: Annotated[
        str | None, typer.Argument(help="Such as table1; without it, all runs of the folder.")
    ] = None,
    results_dir: ResultsDir = Path("results"),
    format: Annotated[Format, typer.Option(help="The output format.")] = Format.text,  # type: ignore[attr-defined]
    rule: Annotated[Rule, typer.Option(help="Which configuration of a search counts.")] = Rule.paper,  # type: ignore[attr-defined]
    compare: Annotated[
        str | None, typer.Option(help="paper, budget, ranks, signal, or a row such as vanilla.", metavar="WITH")
    ] = None,
    margin: Annotated[float, typer.Option(help="Points below which a difference does not matter.")] = 0.5,
    family: Annotated[Family, typer.Option(help="Which comparisons share their errors.")] = Family.task,
    correction: Annotated[Correction, typer.Option(help="Holm, or Benjamini-Hochberg.")] = Correction.holm,
    stochastic_order: Annotated[
        bool, typer.Option("--stochastic-order", help="With --compare ROW, also almost stochastic order.")
    ] = False,
    intervals: Annotated[bool, typer.Option("--intervals", help="Also 95 % intervals of the means.")] = False,
    majority: Annotated[
        bool, typer.Option("--majority", help="Also a row that always gives the most frequent class.")
    ] = False,
) -> None:
    """Mean and std over seeds, of an experiment or of all runs."""
    gc.disable()  # as in status
    existing(results_dir)
    complaints: list[str] = []
    if experiment is None and not (compare or intervals or majority):
        runs = list(read_runs(results_dir))
        show(write(build_tables(runs), format.value))
    else:
        from hype_bench.render.report import read_experiment, report
        from hype_bench.sweeps.planned import ALL
        from hype_bench.tables.compare import Criteria

        criteria = Criteria(margin / 100, family.value, correction.value, stochastic_order)
        read = read_experiment(results_dir, experiment or ALL, rule.value)
        runs, written = list(read.statuses.values()), report(read, format.value, compare, intervals, criteria, majority)
        complaints = written.complaints
        show(written.text)
    report_problems(runs, complaints, every_run_has_a_cell=experiment is not None)
