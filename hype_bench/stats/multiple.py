"""Many comparisons at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hype_bench.stats.means import Vector

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def holm(p_values: ArrayLike) -> Vector:
    """p-values (1-d) adjusted so that *any* false claim among them has at most the probability claimed for one.

    In the order given. A NaN, a comparison that could not be made, stays NaN and does not count as one. ValueError if
    a p lies outside [0, 1]. Valid under any dependence (Holm 1979, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6).
    """
    adjusted = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(adjusted))
    if ((adjusted[tested] < 0) | (adjusted[tested] > 1)).any():
        raise ValueError("a p-value lies outside [0, 1]")
    ascending = tested[np.argsort(adjusted[tested])]
    remaining = np.arange(len(tested), 0, -1)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(remaining * adjusted[ascending]), 1)
    return adjusted


def stars(p: float) -> str:
    """``*`` for p < 0.05, ``**`` for p < 0.01, ``***`` for p < 0.001; nothing otherwise, nor for NaN."""
    return next((mark for limit, mark in _STARS if p < limit), "")
