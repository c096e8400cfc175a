"""A dot per seed, beside the mean and Student's 95 % interval: a figure per task, a row per row of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.render import table_csv
from hype_bench.render.plots.style import BASELINE, METRICS, ORANGE, SMALL, baseline, beside, interval, reason, rows
from hype_bench.render.report import Experiment
from hype_bench.render.sheet import number
from hype_bench.tables.cells import AVERAGE, Cell, Row

_NOTE = "dots: seeds; diamond: mean with 95 % interval"


def draw(experiment: Experiment) -> dict[str, Figure]:
    figures = {}
    for table in experiment.tables:
        for task in (column for column in table.columns if column != AVERAGE):
            cells = {row: of_row[task] for row, of_row in table.rows.items() if task in of_row}
            heading = f"{experiment.plan.key}, {table.model}: {task}"
            figures[f"{table.model} {task}"] = _figure(cells, heading, table.metric(task))
    return figures


def _figure(cells: Mapping[Row, Cell], heading: str, metric: str) -> Figure:
    figure, panel = rows([row.title for row in cells], heading, _NOTE)
    for y, (row, cell) in enumerate(cells.items()):
        _row(panel, y, cell)
        if row.title == BASELINE and not math.isnan(cell.mean):
            baseline(panel, _scale(cell) * cell.mean)
    panel.set_xlabel(METRICS.get(metric, metric), fontsize=SMALL)
    return figure


def _row(panel: Axes, y: float, cell: Cell) -> None:
    scale = _scale(cell)
    scores = [scale * score for score in cell.scores.values() if math.isfinite(score)]
    if cell.missing or not scores:
        reason(panel, y, ", ".join(cell.lacks) or "no score")
        return
    panel.plot(scores, [y + 0.22] * len(scores), "o", color=ORANGE, markersize=2.6, alpha=0.75, zorder=4)
    lacks = f" ({', '.join(cell.lacks)})" if cell.lacks else ""
    if math.isnan(cell.mean):
        beside(panel, y, f"X{lacks}")
        return
    ends = table_csv.interval(cell)
    interval(panel, y - 0.15, scale * cell.mean, ends and (scale * ends[0], scale * ends[1]))
    beside(panel, y, f"{f'{100 * cell.mean:.1f}' if cell.is_fraction else number(cell.mean, False)}{lacks}")


def _scale(cell: Cell) -> float:
    return 100.0 if cell.is_fraction else 1.0
