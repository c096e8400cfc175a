"""An experiment's part of the page: every cell beside the paper's, its pictures, and what it still costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hype_bench.options import UserError
from hype_bench.render.page.answer import answer_context
from hype_bench.render.page.pictures import MOST, inline
from hype_bench.render.plan import total
from hype_bench.render.plots import ANSWER, KINDS, draw
from hype_bench.render.report import Experiment
from hype_bench.render.sheet import difference
from hype_bench.render.text import cell_text, sheets
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.cost import cost_of
from hype_bench.tables.beside_paper import BesidePaper, against_paper
from hype_bench.tables.experiment import Place, Result

_NOT_HERE = (ANSWER, "curves")  # the one stands above; every run's page has its own
_OF_TASKS = ("seeds", "paper")  # kinds with a picture for each task of a block


@dataclass(frozen=True)
class Line:
    """A cell on the page: words, and the numbers by which they are sorted (None last)."""

    block: str
    method: str
    task: str
    metric: str
    here: str
    mean: float | None
    seeds: int
    lacks: str
    paper: str
    printed: float | None
    difference: str
    above: float | None
    verdict: str


def experiment_context(experiment: Experiment, statuses: Mapping[str, RunStatus]) -> dict[str, Any]:
    """What the template shows of an experiment.

    Args:
        statuses: identity -> run, of all in the folder, by which the cost of what is to do is estimated.
    """
    plan = experiment.plan
    return {
        "plan": plan,
        "caption": experiment.caption,
        "answer": answer_context(experiment),
        "lines": _lines(experiment),
        "sheets": sheets(experiment.tables),
        "pictures": _pictures(experiment),
        "cost": total(cost_of(plan, statuses)),
    }


def _lines(experiment: Experiment) -> list[Line]:
    paper = against_paper(experiment.plan, experiment.results) if experiment.plan.table is not None else {}
    return [_line(place, result, paper.get(place)) for place, result in experiment.results.items()]


def _line(place: Place, result: Result, beside: BesidePaper | None) -> Line:
    cell = result.cell
    gap = beside.difference if beside else None
    return Line(
        *(place[0], place[1].title, place[2], cell.metric),
        here=cell_text(cell),
        mean=_number(cell.mean),
        seeds=cell.n,
        lacks=", ".join(cell.counts[1:]),
        paper=f"{beside.printed.mean:.2f}" if beside else "",
        printed=beside.printed.mean if beside else None,
        difference="".join(difference(*gap[:3])) if gap else "",
        above=_number(gap.mean) if gap else None,
        verdict=beside.verdict if beside else "",
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pictures(experiment: Experiment) -> dict[str, dict[str, Markup]]:
    """Kind -> which picture -> its element, without kinds that the experiment does not have; a kind with too many
    pictures for a page is empty."""
    pictures: dict[str, dict[str, Markup]] = {}
    tasks = {(block, task) for block, _, task in experiment.results}
    for kind in KINDS:
        if kind in _NOT_HERE:
            continue
        if kind in _OF_TASKS and len(tasks) > MOST:
            if kind != "paper" or experiment.plan.table is not None:
                pictures[kind] = {}
            continue
        try:
            figures = draw(kind, experiment)
        except UserError:
            continue
        name = experiment.plan.key
        pictures[kind] = {which: inline(figure, f"{name} {kind} {which}") for which, figure in figures.items()}
    return pictures
