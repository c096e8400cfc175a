"""What all pictures share: a column's width, colours that the colour-blind tell apart, rows with a name, files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hype_bench.output import inert

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#6b6b6b"  # blue and vermilion of Okabe and Ito (2008)
STRIPE = "#f3f3f3"
DASHED = (0, (4, 3))
BASELINE = "vanilla"  # the row that is drawn beside every other
WIDTH = 3.4  # inches: a column of a paper of two
METRICS = {
    "accuracy": "accuracy (%)",
    "f1": "F1 (%)",
    "accuracy_f1": "mean of accuracy and F1 (%)",
    "macro_f1": "macro F1 (%)",
    "matthews": "Matthews x 100",
    "pearson": "Pearson x 100",
    "spearman": "Spearman x 100",
    "pearson_spearman": "mean of Pearson and Spearman x 100",
}
SMALL, NORMAL = 6.5, 7.5  # points
_ACROSS = 2  # small panels beside one another
_LONGEST = 18  # characters of a row's name on one line
_HEADING, _NOTE = 52, 66  # characters on one line
_LINE, _AROUND = 0.13, 0.85  # inches: a line of a row's name, and what a panel has above and below its rows


def words(text: str) -> str:
    """A dollar sign would begin mathematics, which a name is not."""
    return inert(text).replace("$", r"\$")


def wrapped(title: str) -> str:
    return words("\0".join(textwrap.wrap(title, _LONGEST) or [""])).replace(r"\x00", "\n")


def rows(names: Sequence[str], heading: str, note: str, least: float = 0.19) -> tuple[Figure, Axes]:
    """A panel with a named row at 0, 1, ... from top to bottom; ``note``: what its marks are; ``least``: inches."""
    names = [wrapped(name) for name in names]
    lines = 1 + max((name.count("\n") for name in names), default=0)
    figure = canvas(_AROUND + max(least, _LINE * lines) * len(names), heading, note)
    panel = figure.subplots()
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(labelsize=SMALL)
    panel.tick_params(axis="y", length=0)
    for stripe in range(0, len(names), 2):
        panel.axhspan(stripe - 0.5, stripe + 0.5, color=STRIPE, linewidth=0, zorder=0)
    without_frame(panel, "top", "right", "left")
    return figure, panel


def small_multiples(names: Sequence[str], heading: str, note: str, below: str) -> tuple[Figure, list[Axes]]:
    """A small panel per name, two beside one another, with the same axes; ``below``: what the horizontal one shows."""
    down = -(-len(names) // _ACROSS)
    height = 0.95 * down + 0.75
    figure = canvas(height, heading, note, layout=None)  # a layout engine takes seconds for so many panels
    above, beneath = (_LINE * (1 + len(_filled(*text).splitlines())) for text in ((heading, _HEADING), (note, _NOTE)))
    places = {
        "left": 0.36 / WIDTH,
        "right": 1 - 0.06 / WIDTH,
        "top": 1 - (above + 0.12) / height,
        "bottom": (beneath + 0.28) / height,
        "wspace": 0.06,
        "hspace": 0.32,
    }
    panels = list(figure.subplots(down, _ACROSS, squeeze=False, sharex=True, sharey=True, gridspec_kw=places).flat)
    for panel, name in zip(panels, names, strict=False):
        panel.set_title(words(name), fontsize=NORMAL - 0.5, loc="left", pad=2)
        panel.tick_params(labelsize=SMALL - 0.5)
        without_frame(panel, "top", "right")
    for panel in panels[max(0, len(names) - _ACROSS) : len(names)]:
        panel.tick_params(labelbottom=True)
    panels[_ACROSS * (down - 1)].set_xlabel(below, fontsize=SMALL)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    return figure, panels[: len(names)]


def canvas(height: float, heading: str, note: str, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of a column's width; ``height`` in inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=200, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(_filled(words(heading), _HEADING), fontsize=NORMAL, x=0.01, ha="left", fontweight="bold")
    figure.supxlabel(_filled(words(note), _NOTE), fontsize=SMALL, x=0.01, ha="left", color=GREY)
    return figure


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)


def baseline(panel: Axes, value: float) -> None:
    """A dashed line through all rows."""
    panel.axvline(value, color=GREY, linewidth=0.7, linestyle=DASHED, zorder=1)


def interval(panel: Axes, y: float, middle: float, ends: tuple[float, float] | None, color: str = BLUE) -> None:
    """A diamond and, where there is one, its interval; a part without a number is not drawn."""
    if ends:
        panel.plot(ends, [y, y], color=color, linewidth=1.1, zorder=2)
    panel.plot([middle], [y], "D", color=color, markersize=3.4, zorder=3)


def without_frame(panel: Axes, *sides: str) -> None:
    for side in sides:
        panel.spines[side].set_visible(False)


def beside(panel: Axes, y: float, text: str, color: str = "black") -> None:
    """Words of a row, right of the panel."""
    panel.text(1.02, y, words(text), transform=panel.get_yaxis_transform(), va="center", fontsize=SMALL, color=color)


def reason(panel: Axes, y: float, text: str) -> None:
    """Why a row has nothing to show, in its place."""
    at_left = panel.get_yaxis_transform()
    panel.text(0.02, y, words(f"X  {text}"), transform=at_left, va="center", fontsize=SMALL, color=GREY)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes ``<stem>.pdf`` and ``<stem>.png``; the same picture is the same file."""
    paths = [stem.with_name(f"{stem.name}.{form}") for form in ("pdf", "png")]
    with mpl.rc_context({"pdf.fonttype": 42}):  # letters stay letters
        figure.savefig(paths[0], metadata={"CreationDate": None})
        figure.savefig(paths[1])
    return paths
