"""Rows by their mean rank over the tasks, and which of them the critical difference does not tell apart.

Demsar's diagram (2006, JMLR 7), turned by a right angle, so that a column has room for the names.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from hype_bench.options import UserError
from hype_bench.output import counted
from hype_bench.render.plots.style import BLUE, SMALL, rows
from hype_bench.render.report import Experiment
from hype_bench.render.sheet import p_value
from hype_bench.tables.over_tasks import Ranking, rankings

_NOTE = (
    "bars: not told apart (mean ranks closer than {critical:.2f}, Nemenyi, 0.05); that all are alike: p {p} (Friedman)"
)


def draw(experiment: Experiment) -> dict[str, Figure]:
    """Raises UserError without two rows that have a number on two tasks."""
    ranked = rankings(experiment.results)
    if not ranked:
        raise UserError(f"{experiment.plan.key} has no two rows with a number on all of two tasks or more to rank")
    return {
        block: _figure(ranking, f"{experiment.plan.key}, {block}: {counted(len(ranking.tasks), 'task')}")
        for block, ranking in ranked.items()
    }


def _figure(ranking: Ranking, heading: str) -> Figure:
    ranks = [rank for rank, _ in ranking.rows.values()]
    note = _NOTE.format(critical=ranking.critical, p=p_value(ranking.p))
    note += f"; without a number everywhere: {', '.join(ranking.left_out)}" * bool(ranking.left_out)
    figure, panel = rows([row.title for row in ranking.rows], heading, note)
    for y, rank in enumerate(ranks):
        panel.plot([rank], [y], "D", color=BLUE, markersize=3.4)
        panel.annotate(f"{rank:.1f}", (rank, y), (5, 0), textcoords="offset points", va="center", fontsize=SMALL)
    for number, (first, last) in enumerate(alike(ranks, ranking.critical)):
        x = 1.03 + 0.035 * number
        panel.plot(
            [x, x], [first - 0.3, last + 0.3], color=BLUE, linewidth=2.2, clip_on=False,
            transform=panel.get_yaxis_transform(),
        )  # fmt: skip
    panel.set_xlim(0.7, len(ranks) + 0.3)
    panel.set_xlabel("mean rank, 1 is the best", fontsize=SMALL)
    return figure


def alike(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """First and last of every largest group of ranks that differ by less than the critical difference.

    Args:
        ranks: from the best to the worst.
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank < critical)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
