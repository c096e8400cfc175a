"""Many comparisons at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Vector

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_Places = Int64[np.ndarray[tuple[Any, ...], np.dtype[np.int64]], "..."]


def holm(p_values: ArrayLike) -> Vector:
    """p-values (1-d) adjusted so that *any* false claim among them has at most the probability claimed for one.

    In the order given. A NaN, a comparison that could not be made, stays NaN and does not count as one. ValueError if
    a p lies outside [0, 1]. Valid under any dependence (Holm 1979, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6).
    """
    adjusted, ascending = _ascending(p_values)
    remaining = np.arange(len(ascending), 0, -1)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(remaining * adjusted[ascending]), 1)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Vector:
    """p-values (1-d) adjusted so that of the claims made below a level at most that share is false on average.

    Order, NaN and errors as in ``holm``. For independent or positively dependent tests, as those against one control
    are (Benjamini and Hochberg 1995, "Controlling the False Discovery Rate", JRSS B 57; Benjamini and Yekutieli 2001).
    """
    adjusted, ascending = _ascending(p_values)
    scaled = adjusted[ascending] * len(ascending) / np.arange(1, len(ascending) + 1)
    adjusted[ascending] = np.minimum.accumulate(scaled[::-1])[::-1]
    return adjusted


CORRECTIONS: Mapping[str, Callable[[ArrayLike], Vector]] = {"holm": holm, "bh": benjamini_hochberg}


def stars(p: float) -> str:
    """``*`` for p < 0.05, ``**`` for p < 0.01, ``***`` for p < 0.001; nothing otherwise, nor for NaN."""
    return next((mark for limit, mark in _STARS if p < limit), "")


def _ascending(p_values: ArrayLike) -> tuple[Vector, _Places]:
    """A copy of the p-values, and the places of those that are none NaN from the least on."""
    values = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    if ((values[tested] < 0) | (values[tested] > 1)).any():
        raise ValueError("a p-value lies outside [0, 1]")
    return values, tested[np.argsort(values[tested])]
