"""The expected best score over the number of configurations tried: a figure per task, a panel per row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.options import UserError
from hype_bench.render.plots.style import BASELINE, BLUE, DASHED, GREY, METRICS, SMALL, small_multiples, words
from hype_bench.render.report import Experiment
from hype_bench.tables.budget import ExpectedBest, at_same_budget


def draw(experiment: Experiment) -> dict[str, Figure]:
    """Raises UserError for an experiment without a search."""
    if not experiment.plan.search:
        raise UserError(f"{experiment.plan.key} searches over nothing: there is no budget to draw")
    cells: dict[tuple[str, str], dict[str, ExpectedBest]] = defaultdict(dict)
    for (block, row, task), best in at_same_budget(experiment.results).items():
        cells[block, task][row.title] = best
    metrics = {(block, task): result.cell.metric for (block, _, task), result in experiment.results.items()}
    return {
        f"{block} {task}": _figure(rows, f"{experiment.plan.key}, {block}: {task}, {_name(metrics[block, task])}")
        for (block, task), rows in cells.items()
        if any(best.curve for best in rows.values())
    }


def _name(metric: str) -> str:
    return METRICS.get(metric, metric)


def _figure(rows: Mapping[str, ExpectedBest], heading: str) -> Figure:
    baseline = rows[BASELINE].curve if BASELINE in rows else ()
    note = "best dev score expected of so many configurations" + f"; dashed: {BASELINE}" * bool(baseline)
    figure, panels = small_multiples(list(rows), heading, note, "configurations tried")
    for panel, (title, best) in zip(panels, rows.items(), strict=True):
        _panel(panel, best, baseline if title != BASELINE else ())
    return figure


def _panel(panel: Axes, best: ExpectedBest, baseline: tuple[float, ...]) -> None:
    for curve, style in ((baseline, {"color": GREY, "linewidth": 0.8, "linestyle": DASHED}), (best.curve, _OWN)):
        panel.plot(range(1, len(curve) + 1), [100 * score for score in curve], **style)  # type: ignore[arg-type]
    if best.curve:
        tried, score = len(best.curve), best.curve[-1]
        above = tried, 100 * max([score, *baseline[tried - 1 : tried]])
        panel.annotate(f"{100 * score:.1f}", above, (0, 4), textcoords="offset points", ha="right", fontsize=SMALL)
    else:
        why = words(f"X  {best.missing or 'no score'}")
        panel.text(0.5, 0.5, why, transform=panel.transAxes, ha="center", fontsize=SMALL, color=GREY)


_OWN = {"color": BLUE, "linewidth": 1.4, "marker": "o", "markersize": 2.5}
