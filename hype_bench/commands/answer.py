"""``hype-bench answer``: does each technique of an experiment help?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.commands.arguments import Correction, Family, Rule, report_problems
from hype_bench.options import UserError
from hype_bench.output import show
from hype_bench.sweeps.planned import ALL

Format = StrEnum("Format", ["text", "markdown", "latex", "html", "json"])


def answer(
    experiment: Annotated[
        str | None, typer.Argument(help="Such as table1, or all for all runs; may be left out if there is no choice.")
    ] = None,
    results_dir: ResultsDir = Path("results"),
    against: Annotated[
        str | None, typer.Option(help="Only against this technique, in place of vanilla and each one's own control.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Points below which a difference does not matter.")] = 0.5,
    rule: Annotated[Rule, typer.Option(help="Which configuration of a search counts.")] = Rule.paper,  # type: ignore[attr-defined]
    correction: Annotated[Correction, typer.Option(help="Holm, or Benjamini-Hochberg.")] = Correction.holm,
    family: Annotated[Family, typer.Option(help="Which comparisons share their errors.")] = Family.task,
    format: Annotated[Format, typer.Option(help="The output format.")] = Format.text,
) -> None:
    """Does each technique help: helps, hurts, no difference, or undecided?

    Against vanilla and against the control that isolates the technique, on each task and over all of them.
    """
    existing(results_dir)
    from hype_bench.render.answer import answers_of, nothing_to_answer, write_answer
    from hype_bench.render.report import read_experiment
    from hype_bench.runs.status import DONE
    from hype_bench.tables.compare import Criteria

    criteria = Criteria(
        margin / 100, family.value, correction.value, resampled=format.value == "json"
    )  # only this shows it
    read = read_experiment(results_dir, experiment or _only(results_dir), rule.value)
    if not any(status.state == DONE for status in read.statuses.values()):
        of, way_out = ("", "") if read.plan.name == ALL else (f" of {read.plan.key}", f": {read.plan.command}")
        raise UserError(f"no run{of} is done in {results_dir}{way_out}")
    given, missing = answers_of(read, criteria, against)
    if not given:
        raise UserError(nothing_to_answer(read, missing))
    show(write_answer(read.plan, given, missing, criteria, format.value))
    complaints = [text for each in given for cell in each.tasks.values() for text in cell.measured.complaints]
    report_problems(read.statuses.values(), list(dict.fromkeys(complaints)), every_run_has_a_cell=True)


def _only(results_dir: Path) -> str:
    """The experiment of a folder that has one; all runs of a folder that has none."""
    from hype_bench.sweeps.planned import plans

    names = plans(results_dir)
    if len(names) > 1:
        raise UserError(f"name the experiment of {results_dir}, or {ALL} for all runs: there are {', '.join(names)}")
    return names[0] if names else ALL
