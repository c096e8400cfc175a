"""The figure of a block of a table: mean ± std of every row, a panel per task, the paper's value as a hollow mark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hype_bench.paper.published import Published
from hype_bench.render.plots.style import BLUE, DASHED, METRICS, ORANGE, words
from hype_bench.tables.beside_paper import BesidePaper
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.experiment import Place
from hype_bench.tables.table import Table

_HERE, _PAPER, _FAINT = BLUE, ORANGE, "#8a8a8a"
_BASELINE = "vanilla"  # the row whose mean is drawn through all of its panel
_REASON: dict[str, Any] = {"va": "center", "color": _FAINT, "fontsize": 8, "zorder": 2}
_BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
_BASELINE_LINE: dict[str, Any] = {"linewidth": 0.9, "linestyle": DASHED}
_MARK: dict[str, Any] = {"marker": "o", "markersize": 5.5, "markeredgewidth": 1.3, "linewidth": 1.2}
_ACROSS = 4  # panels beside one another
_PANEL_WIDTH, _ROW_HEIGHT, _LETTER_WIDTH, _AROUND = 2.9, 0.34, 0.085, 0.95  # inches
_NARROWEST = 6.5  # inches, for the legend


def figure(table: Table, paper: Mapping[Place, BesidePaper], title: str, source: str = "paper") -> Figure:
    """One block of a table, in percent; a cell that lacks runs is marked with an X and the reason.

    Args:
        paper: what the paper prints beside its cells; runs of another setting have no mark of it.
        source: what the hollow marks are called.
    """
    printed = {place[1:]: beside.printed for place, beside in paper.items() if not beside.other}
    tasks = [column for column in table.columns if column != AVERAGE]
    across = min(_ACROSS, len(tasks))
    down = -(-len(tasks) // across)
    width = across * _PANEL_WIDTH + _LETTER_WIDTH * max(len(row.title) for row in table.rows) + 0.3
    height = down * (_ROW_HEIGHT * len(table.rows) + _AROUND) + 0.8
    drawn = Figure(figsize=(max(width, _NARROWEST), height), dpi=130, layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(down, across, squeeze=False, sharey=True).flat
    for axes, task in zip_longest(panels, tasks):
        if task is None:
            axes.set_axis_off()
        else:
            _panel(axes, table, task, {row: cell for (row, column), cell in printed.items() if column == task})
    drawn.suptitle(words(title), fontsize=12)
    has_baseline = any(row.title == _BASELINE for row in table.rows)
    drawn.legend(
        handles=_legend(source if printed else "", has_baseline), loc="outside lower center", ncols=3, frameon=False,
        fontsize=9,
    )  # fmt: skip
    return drawn


def _panel(axes: Axes, table: Table, task: str, printed: Mapping[Row, Published]) -> None:
    for stripe in range(0, len(table.rows), 2):
        axes.axhspan(stripe - 0.5, stripe + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
    offset = 0.17 if printed else 0.0
    shown = [_cell(axes, row, cells.get(task), y - offset) for y, (row, cells) in enumerate(table.rows.items())]
    for y, row in enumerate(table.rows):
        if row in printed:
            _mark(axes, printed[row].mean, printed[row].sample_std, y + offset, _PAPER, hollow=True)
    axes.set_title(words(task), fontsize=10)
    axes.set_xlabel(METRICS.get(table.metric(task), table.metric(task)), fontsize=9)
    axes.set_yticks(range(len(table.rows)), [words(row.title) for row in table.rows])
    axes.set_ylim(len(table.rows) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.tick_params(labelsize=9)
    axes.tick_params(axis="y", length=0)
    if not any(shown) and not printed:
        axes.set_xticks([])
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _cell(axes: Axes, row: Row, cell: Cell | None, y: float) -> bool:
    """Draws a cell; returns whether it has a number."""
    if cell is None:
        return False
    if cell.missing or math.isnan(cell.mean):
        reason = words(", ".join(cell.lacks) or "no score")
        axes.text(0.02, y, f"X  {reason}", transform=axes.get_yaxis_transform(), bbox=_BEHIND, **_REASON)
        return False
    if row.title == _BASELINE:
        axes.axvline(100 * cell.mean, color=_FAINT, zorder=1, **_BASELINE_LINE)
    _mark(axes, 100 * cell.mean, None if math.isnan(cell.std) else 100 * cell.std, y, _HERE, hollow=False)
    return True


def _mark(axes: Axes, mean: float, std: float | None, y: float, color: str, hollow: bool) -> None:
    inside = "white" if hollow else color
    axes.errorbar(mean, y, xerr=std, color=color, markerfacecolor=inside, capsize=2.5, zorder=3, **_MARK)


def _legend(source: str, has_baseline: bool) -> list[Line2D]:
    marks = [Line2D([], [], color=_HERE, label="here: mean ± std over seeds", **_MARK)]
    if source:
        marks.append(Line2D([], [], color=_PAPER, markerfacecolor="white", label=source, **_MARK))
    if has_baseline:
        marks.append(Line2D([], [], color=_FAINT, label=f"{_BASELINE} here", **_BASELINE_LINE))
    return marks
