"""Training curves: a figure per block, task and quantity; a panel per row with every seed and their mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.render.plots.style import BASELINE, BLUE, DASHED, GREY, METRICS, ORANGE, SMALL, small_multiples
from hype_bench.render.report import Experiment
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import DIVERGED, DONE
from hype_bench.tables.experiment import Result

Points = dict[int, float]  # update -> value

_LOSS = "loss"


def draw(experiment: Experiment) -> dict[str, Figure]:
    rows: dict[tuple[str, str], dict[str, Result]] = defaultdict(dict)
    for (block, row, task), result in experiment.results.items():
        if not result.split:  # the runs of a further split are those of the first
            rows[block, task][row.title] = result
    figures = {}
    for (block, task), results in rows.items():
        curves = {title: _curves(result) for title, result in results.items()}
        metric = next(iter(results.values())).cell.metric
        for quantity, scale in ((_LOSS, 1.0), (metric, 100.0)):
            drawn = {title: seeds_of(of_row, quantity, scale) for title, of_row in curves.items()}
            if any(len(points) > 1 for seeds in drawn.values() for points in seeds.values()):
                heading = f"{experiment.plan.key}, {block}: {task}, {METRICS.get(quantity, quantity)}"
                figures[f"{block} {task} {quantity}"] = _figure(drawn, heading)
    return figures


def _curves(result: Result) -> dict[int, list[Mapping[str, Any]]]:
    """Seed -> points of the curve, of the runs that the cell shows and of those that diverged beside them."""
    shown = [run.identity for run in result.planned if run.configuration == result.chosen.configuration]
    runs = result.runs[result.runs.identity.isin(shown) & result.runs.status.isin([DONE, DIVERGED])]
    records = {int(seed): RunFolder(Path(path)).result() for seed, path in zip(runs.seed, runs.path, strict=True)}
    return {seed: list(record.curve) for seed, record in sorted(records.items()) if record is not None}


def seeds_of(curves: Mapping[int, Iterable[Mapping[str, Any]]], quantity: str, scale: float) -> dict[int, Points]:
    """Seed -> the points at which a quantity of the curve was measured and finite."""
    points = {
        seed: {int(point["update"]): scale * float(point[quantity]) for point in curve if quantity in point}
        for seed, curve in curves.items()
    }
    return {seed: {at: y for at, y in of_seed.items() if math.isfinite(y)} for seed, of_seed in points.items()}


def mean_of(seeds: Mapping[int, Points]) -> Points:
    """The mean over seeds at the updates that all of them reached."""
    if not seeds:
        return {}
    common = set.intersection(*(set(points) for points in seeds.values()))
    return {at: math.fsum(points[at] for points in seeds.values()) / len(seeds) for at in sorted(common)}


def _figure(rows: Mapping[str, Mapping[int, Points]], heading: str) -> Figure:
    baseline = mean_of(rows.get(BASELINE, {}))
    note = "thin: seeds; thick: their mean" + f"; dashed: mean of {BASELINE}" * bool(baseline)
    figure, panels = small_multiples(list(rows), heading, note, "update")
    for panel, (title, seeds) in zip(panels, rows.items(), strict=True):
        _panel(panel, seeds, baseline if title != BASELINE else {})
    return figure


def _panel(panel: Axes, seeds: Mapping[int, Points], baseline: Points) -> None:
    for points in seeds.values():
        panel.plot(list(points), list(points.values()), color=ORANGE, linewidth=0.6, alpha=0.6, zorder=2)
    mean = mean_of(seeds)
    panel.plot(list(mean), list(mean.values()), color=BLUE, linewidth=1.4, zorder=3)
    panel.plot(list(baseline), list(baseline.values()), color=GREY, linewidth=0.8, linestyle=DASHED, zorder=4)
    if not seeds:
        panel.text(0.5, 0.5, "X  no finished run", transform=panel.transAxes, ha="center", fontsize=SMALL, color=GREY)
