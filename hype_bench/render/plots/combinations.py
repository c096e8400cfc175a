"""Every technique alone and with the one that all combinations share, as bars with 95 % intervals over seeds.

Figure 2 of the paper, from the records of Table 16: a figure per block for the mean over tasks and for each task.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.options import UserError
from hype_bench.render import table_csv
from hype_bench.render.plots.style import BASELINE, BLUE, GREY, METRICS, SMALL, baseline, beside, reason, rows
from hype_bench.render.report import Experiment
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.table import Table

_ROW = 0.3  # inches
_HEIGHT = 0.4  # of a bar; the rows are 1 apart
_NOTE = "grey: alone; blue: with {shared}; line: 95 % interval over seeds. The axis does not begin at 0."


class Pair(NamedTuple):
    """A technique alone and with what is added to it."""

    alone: Row
    combined: Row


def draw(experiment: Experiment) -> dict[str, Figure]:
    """Raises UserError where no combination stands beside its technique."""
    shared = shared_technique([row for table in experiment.tables for row in table.rows])
    figures = {}
    for table in experiment.tables:
        if paired := pairs(list(table.rows), shared):
            for column in sorted(table.columns, key=lambda name: name != AVERAGE):
                heading = f"{experiment.plan.key}, {table.model}: {column}"
                figures[f"{table.model} {column}"] = _figure(table, column, paired, heading, shared)
    if not figures:
        raise UserError(f"{experiment.plan.key} has no technique both alone and in a combination; table16 has some")
    return figures


def shared_technique(all_rows: list[Row]) -> str:
    """The technique that all combinations of several have in common; the first one named of more, as where there is
    one combination; empty if there is none."""
    first, *others = [row.method.split("+") for row in all_rows if "+" in row.method] or [[]]
    return next((name for name in first if all(name in other for other in others)), "")


def pairs(all_rows: list[Row], shared: str) -> list[Pair]:
    """Rows with ``shared``, each beside the row without it; alone it stands beside vanilla."""
    places = {(frozenset(row.method.split("+")), row.settings): row for row in all_rows}
    combined = [row for row in all_rows if shared in row.method.split("+")]
    without = [frozenset(row.method.split("+")) - {shared} or frozenset({BASELINE}) for row in combined]
    keys = [(methods, row.settings) for methods, row in zip(without, combined, strict=True)]
    return [Pair(places[key], row) for key, row in zip(keys, combined, strict=True) if key in places]


def _figure(table: Table, column: str, paired: list[Pair], heading: str, shared: str) -> Figure:
    figure, panel = rows([pair.alone.title for pair in paired], heading, _NOTE.format(shared=shared), _ROW)
    shown = [_number(table.rows[row].get(column)) for pair in paired for row in pair]
    numbers = [100 * end for mean, ends in filter(None, shown) for end in (mean, *(ends or ()))]
    if numbers:
        room = 0.1 * (max(numbers) - min(numbers)) or 1.0
        panel.set_xlim(min(numbers) - room, max(numbers) + room)
    for y, pair in enumerate(paired):
        for row, above, color in zip(pair, (-0.5, 0.5), (GREY, BLUE), strict=True):
            _bar(panel, y + above * _HEIGHT, table.rows[row].get(column), color)
    plain = [_number(table.rows[pair.alone].get(column)) for pair in paired if pair.alone.title == BASELINE]
    for mean, _ in filter(None, plain):
        baseline(panel, 100 * mean)
    metric = table.metric(column)
    panel.set_xlabel("mean over tasks (%)" if column == AVERAGE else METRICS.get(metric, metric), fontsize=SMALL)
    return figure


def _number(cell: Cell | None) -> tuple[float, tuple[float, float] | None] | None:
    """Mean and interval; None while there is no mean."""
    if cell is None or cell.missing or math.isnan(cell.mean):
        return None
    return cell.mean, table_csv.interval(cell)


def _bar(panel: Axes, y: float, cell: Cell | None, color: str) -> None:
    if (number := _number(cell)) is None:
        reason(panel, y, ", ".join(cell.lacks if cell else ()) or "no score")
        return
    mean, ends = number
    panel.barh(y, 100 * mean, height=_HEIGHT, color=color, alpha=0.75, zorder=2)
    if ends:
        panel.plot([100 * end for end in ends], [y, y], color="black", linewidth=0.9, zorder=3)
    beside(panel, y, f"{100 * mean:.1f}", color)
