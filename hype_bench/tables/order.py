"""Rows against one of their own by almost stochastic order, which sees more of the runs than their means."""

from __future__ import annotations

from collections.abc import Mapping

from hype_bench.stats.order import almost_order
from hype_bench.tables.compare import pairs_with
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.pairing import comparable


def orders(results: Mapping[Place, Result], baseline: str) -> dict[Place, tuple[int, float]]:
    """Number of common seeds, and the violation of the order that cannot be excluded; NaN with too few seeds."""
    bounds = {}
    for place, result, base in pairs_with(results, baseline):
        seeds, _ = comparable(result.shown, base.shown)
        a, b = ([side.cell.scores[seed] for seed in seeds] for side in (result, base))
        bounds[place] = len(seeds), almost_order(a, b)
    return bounds
