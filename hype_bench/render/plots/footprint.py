"""Time of an update and peak memory of every technique, as bars relative to vanilla: a figure per block and task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.options import UserError
from hype_bench.render.plots.style import BLUE, GREY, ORANGE, SMALL, baseline, beside, reason, rows
from hype_bench.render.report import Experiment
from hype_bench.tables.cells import Cell

_ROW, _BAR = 0.3, 0.4  # inches; share of a row
_NOTE = "blue: time of an update; vermilion: peak memory, both over vanilla's (dashed)"
_FIRST = "update"  # the split that a cell shows


def draw(experiment: Experiment) -> dict[str, Figure]:
    """Raises UserError for an experiment without footprints."""
    cells: dict[tuple[str, str], dict[str, dict[str, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for (block, row, task), result in experiment.results.items():
        if ".footprint" in task:
            name, _, split = task.partition("/")
            cells[block, name][row.title][split or _FIRST] = result.cell
    if not cells:
        raise UserError(f"{experiment.plan.name} measures no footprint; the experiment footprint does")
    return {
        f"{block} {task}": _figure(of_rows, f"{experiment.plan.name}, {block}: {task}")
        for (block, task), of_rows in cells.items()
    }


def _figure(of_rows: Mapping[str, Mapping[str, Cell]], heading: str) -> Figure:
    figure, panel = rows(list(of_rows), heading, _NOTE, _ROW)
    baseline(panel, 1)
    for y, cells in enumerate(of_rows.values()):
        for split, offset, colour in ((_FIRST, -0.5, BLUE), ("memory", 0.5, ORANGE)):
            _bar(panel, y + offset * _BAR, cells.get(split), colour)
    panel.set_xlabel("times vanilla", fontsize=SMALL)
    panel.set_xlim(left=0)
    return figure


def _bar(panel: Axes, y: float, cell: Cell | None, colour: str) -> None:
    if cell is None or math.isnan(cell.mean):
        reason(panel, y, ", ".join(cell.lacks if cell else ()) or "no number")
        return
    panel.barh(y, cell.mean, height=_BAR, color=colour, alpha=0.75, zorder=2)
    seeds = list(cell.scores.values())
    panel.plot(seeds, [y] * len(seeds), "|", color=GREY, markersize=4, zorder=3)
    beside(panel, y, f"{cell.mean:.2f}", colour)
