"""What an analysis measured of every layer: a figure per task and metric, a line per row of the table.

Figures 3 and 4 of the paper, and every other analysis whose splits are called ``layer_0``, ``layer_1``, ...
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hype_bench.analysis.measuring.by_layer import LAYER
from hype_bench.options import UserError
from hype_bench.render.plots.style import (
    BASELINE,
    BLUE,
    DASHED,
    GREY,
    METRICS,
    ORANGE,
    SMALL,
    canvas,
    without_frame,
    words,
)  # fmt: skip
from hype_bench.render.report import Experiment
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from hype_bench.stats.means import interval_of_mean, mean_and_std
from hype_bench.tables.cells import INFERENCE_FROM
from hype_bench.tables.experiment import Result

Layers = dict[int, float]  # layer -> value

_COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # of Okabe and Ito (2008)
_STYLES = ("solid", (0, (1, 1.5)), "dashdot")  # of the first rows, and of those that have the same colours again
_HEIGHT, _LEGEND = 2.2, 0.14  # inches: of the figure at least, and of a line of the legend
_AXIS = 22  # characters of its label on one line
_NOTE = "layer 0: the embeddings; line: mean over seeds; band: its 95 % interval, of two seeds from one to the other"


def draw(experiment: Experiment) -> dict[str, Figure]:
    """Raises UserError for an experiment without an analysis of layers."""
    lines: dict[tuple[str, str, str], dict[str, list[Layers]]] = defaultdict(dict)
    for (block, row, task), result in experiment.results.items():
        if not result.split:  # the other splits are the other layers
            for metric, seeds in _by_metric(result).items():
                lines[block, task, metric][row.title] = seeds
    if not lines:
        raise UserError(f"{experiment.plan.name} measures nothing layer by layer; figure3 and figure4 do")
    return {
        f"{block} {task} {metric}": _figure(rows, f"{experiment.plan.name}, {block}: {task}", metric)
        for (block, task, metric), rows in lines.items()
    }


def _by_metric(result: Result) -> dict[str, list[Layers]]:
    """Metric -> the layers' values of every seed: the headline metric, and others that are no scores of a task."""
    records = [RunFolder(Path(path)).result() for path in result.shown.path]
    values: dict[str, list[Layers]] = defaultdict(list)
    for record in filter(None, records):
        scores = _layers(record)
        for metric in {metric for of_layer in scores.values() for metric in of_layer}:
            if metric == record.label.metric or metric not in METRICS:
                values[metric].append({n: of_layer[metric] for n, of_layer in sorted(scores.items())})
    return dict(values)


def _layers(record: Record) -> dict[int, Mapping[str, float]]:
    """Layer -> metric -> value."""
    first = next(iter(record.scored_rows), "")
    splits = {first: record.scores.first, **record.scores.further}
    return {int(name.removeprefix(LAYER)): scores for name, scores in splits.items() if name.startswith(LAYER)}


def _figure(rows: Mapping[str, list[Layers]], heading: str, metric: str) -> Figure:
    figure = canvas(max(_HEIGHT, 0.6 + _LEGEND * len(rows)), heading, _NOTE)
    panel = figure.subplots()
    without_frame(panel, "top", "right")
    scale, colours = 100 if metric in METRICS else 1, cycle(_COLOURS)
    for n, (title, seeds) in enumerate(rows.items()):
        width = max(0.8, 2.6 - 0.6 * n)  # lines that coincide stay visible
        style = DASHED if title == BASELINE else _STYLES[n // len(_COLOURS) % len(_STYLES)]
        _line(panel, title, seeds, scale, GREY if title == BASELINE else next(colours), width, style)
    panel.tick_params(labelsize=SMALL)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("layer", fontsize=SMALL)
    panel.set_ylabel(fill(METRICS.get(metric, metric.replace("_", " ")), _AXIS), fontsize=SMALL)
    panel.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, fontsize=SMALL, frameon=False)
    return figure


def _line(
    panel: Axes, title: str, seeds: Iterable[Layers], scale: float, colour: str, width: float, style: Any
) -> None:
    """The mean over seeds at every layer that all of them have, and its band."""
    seeds = list(seeds)
    shared = sorted(set.intersection(*(set(layers) for layers in seeds))) if seeds else []
    finite = [n for n in shared if all(math.isfinite(layers[n]) for layers in seeds)]
    means, low, high = list[float](), list[float](), list[float]()
    for n in finite:
        values_of_seeds = [scale * layers[n] for layers in seeds]
        mean, std = mean_and_std(values_of_seeds)
        is_spread = len(seeds) < INFERENCE_FROM
        ends = (min(values_of_seeds), max(values_of_seeds)) if is_spread else interval_of_mean(mean, std, len(seeds))
        for values, value in zip((means, low, high), (mean, *ends), strict=True):
            values.append(value)
    label = words(title if finite else f"{title}: X no finished run")
    panel.plot(finite, means, color=colour, linewidth=width, linestyle=style, marker="o", markersize=2.2, label=label)
    if len(seeds) > 1:
        panel.fill_between(finite, low, high, color=colour, alpha=0.12, linewidth=0)
