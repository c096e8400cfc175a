"""The difference to the cells that the paper printed, with Welch's 95 % interval: a figure per task, a row per row."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.render.plots.style import GREY, SMALL, baseline, beside, interval, reason, rows
from hype_bench.render.report import Experiment
from hype_bench.tables.beside_paper import OTHER_SETTING, BesidePaper, against_paper

_NOTE = "right: here / in the paper; bar: 95 % interval of the difference"


def draw(experiment: Experiment) -> dict[str, Figure]:
    cells: dict[tuple[str, str], dict[str, BesidePaper]] = defaultdict(dict)
    for (block, row, task), cell in against_paper(experiment.plan, experiment.results).items():
        cells[block, task][row.title] = cell
    heading = f"{experiment.plan.key} minus Table {experiment.plan.table} of the paper"
    return {f"{block} {task}": _figure(here, f"{heading}, {block}: {task}") for (block, task), here in cells.items()}


def _figure(cells: Mapping[str, BesidePaper], heading: str) -> Figure:
    figure, panel = rows(list(cells), heading, _NOTE)
    baseline(panel, 0)
    for y, cell in enumerate(cells.values()):
        _row(panel, y, cell)
    panel.set_xlabel("points above the paper", fontsize=SMALL)
    return figure


def _row(panel: Axes, y: float, cell: BesidePaper) -> None:
    gap, printed = cell.difference, cell.printed.mean
    if math.isnan(gap.mean):
        reason(panel, y, OTHER_SETTING if cell.other else ", ".join(cell.cell.lacks) or "no score")
        beside(panel, y, f"- / {printed:.1f}", GREY)
        return
    ends = None if math.isnan(gap.low) else (100 * gap.low, 100 * gap.high)
    interval(panel, y, 100 * gap.mean, ends)
    beside(panel, y, f"{100 * cell.cell.mean:.1f} / {printed:.1f}")
