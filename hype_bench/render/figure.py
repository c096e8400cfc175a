"""The figure of a block of a table: mean ± std of every row, a panel per task, the paper's value as a hollow mark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hype_bench.output import inert
from hype_bench.render.lines import Line

_HERE, _PAPER, _FAINT = "#1f5fa8", "#c2571a", "#8a8a8a"
_BASELINE = "vanilla"  # the row whose mean is drawn through all of its panel
_REASON: dict[str, Any] = {"va": "center", "color": _FAINT, "fontsize": 8, "zorder": 2}
_BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
_BASELINE_LINE: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 3))}
_MARK: dict[str, Any] = {"marker": "o", "markersize": 5.5, "markeredgewidth": 1.3, "linewidth": 1.2}
_ACROSS = 4  # panels beside one another
_PANEL_WIDTH, _ROW_HEIGHT, _LETTER_WIDTH, _AROUND = 2.9, 0.34, 0.085, 0.95  # inches
_NARROWEST = 6.5  # inches, for the legend
_NAMES = {
    "accuracy": "accuracy (%)",
    "f1": "F1 (%)",
    "accuracy_f1": "mean of accuracy and F1 (%)",
    "macro_f1": "macro F1 (%)",
    "matthews": "Matthews x 100",
    "pearson": "Pearson x 100",
    "spearman": "Spearman x 100",
    "pearson_spearman": "mean of Pearson and Spearman x 100",
}


def figure(lines: Sequence[Line], title: str, paper: str = "paper") -> Figure:
    """One block.

    Args:
        lines: its cells; those that lack runs are marked with an X and the reason.
        paper: what the hollow marks are called.
    """
    tasks, rows = (list(dict.fromkeys(names)) for names in zip(*((line.task, line.row) for line in lines), strict=True))
    across = min(_ACROSS, len(tasks))
    down = -(-len(tasks) // across)
    width = across * _PANEL_WIDTH + _LETTER_WIDTH * max(map(len, rows)) + 0.3
    height = down * (_ROW_HEIGHT * len(rows) + _AROUND) + 0.8
    found = Figure(figsize=(max(width, _NARROWEST), height), dpi=130, layout="constrained")
    FigureCanvasAgg(found)
    grid = found.subplots(down, across, squeeze=False, sharey=True)
    for number, axes in enumerate(grid.flat):
        if number < len(tasks):
            _panel(axes, [line for line in lines if line.task == tasks[number]], rows)
        else:
            axes.set_axis_off()
    found.suptitle(_words(title), fontsize=12)
    found.legend(handles=_legend(lines, paper), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return found


def _panel(axes: Axes, lines: Sequence[Line], rows: Sequence[str]) -> None:
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
    beside = 0.17 if any(line.paper_mean is not None for line in lines) else 0.0
    for line in lines:
        place = rows.index(line.row)
        if line.mean is None:
            why, across = line.missing or "no score", axes.get_yaxis_transform()
            axes.text(0.02, place - beside, f"X  {_words(why)}", transform=across, bbox=_BEHIND, **_REASON)
        else:
            if line.row == _BASELINE:
                axes.axvline(line.mean, color=_FAINT, zorder=1, **_BASELINE_LINE)
            _mark(axes, line.mean, line.std, place - beside, _HERE, hollow=False)
        if line.paper_mean is not None:
            _mark(axes, line.paper_mean, line.paper_std, place + beside, _PAPER, hollow=True)
    axes.set_title(_words(lines[0].task), fontsize=10)
    axes.set_xlabel(_NAMES.get(lines[0].metric, lines[0].metric), fontsize=9)
    axes.set_yticks(range(len(rows)), list(map(_words, rows)))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.tick_params(labelsize=9)
    axes.tick_params(axis="y", length=0)
    if not any(score is not None for line in lines for score in (line.mean, line.paper_mean)):
        axes.set_xticks([])
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _words(text: str) -> str:
    """A dollar sign would begin mathematics, which a name is not."""
    return inert(text).replace("$", r"\$")


def _mark(axes: Axes, mean: float, std: float | None, place: float, color: str, hollow: bool) -> None:
    inside = "white" if hollow else color
    axes.errorbar(mean, place, xerr=std, color=color, markerfacecolor=inside, capsize=2.5, zorder=3, **_MARK)


def _legend(lines: Sequence[Line], paper: str) -> list[Line2D]:
    marks = [Line2D([], [], color=_HERE, label="here: mean ± std over seeds", **_MARK)]
    if any(line.paper_mean is not None for line in lines):
        marks.append(Line2D([], [], color=_PAPER, markerfacecolor="white", label=paper, **_MARK))
    if any(line.row == _BASELINE and line.mean is not None for line in lines):
        marks.append(Line2D([], [], color=_FAINT, label=f"{_BASELINE} here", **_BASELINE_LINE))
    return marks
