"""Almost stochastic order: are the scores of one method larger than those of another at (almost) every quantile?"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.draws import DRAWS
from hype_bench.stats.means import Floats, finite

ORDER_FROM = 5  # seeds: with fewer the bootstrap knows nothing of the tails

_Draws = Float64[Floats, "draws _scores"]


def violation(a_scores: ArrayLike, b_scores: ArrayLike) -> float:
    """How far a is from being larger than b at every quantile: 0 if it is, 1 if b is, 1/2 if both are the same.

    The share of the squared distance of the two quantile functions (1-d samples) that lies where a is below b. Exact:
    the functions are steps. ValueError if a sample is empty or not finite (del Barrio et al. 2018, arXiv:1705.01788).
    """
    a, b = finite(a_scores), finite(b_scores)
    if not (len(a) and len(b)):
        raise ValueError("an order needs a score on both sides")
    return float(_violations(a[None], b[None])[0])


def almost_order(
    a_scores: ArrayLike, b_scores: ArrayLike, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> float:
    """The least violation that can be claimed of a over b at this confidence: an upper bound of ``violation``.

    Below 0.5 a is almost stochastically dominant; below 0.2 it is so at the error rates of usual tests. The spread is
    that of resampled scores. NaN below ``ORDER_FROM`` scores on a side; ValueError as there.

    Dror et al. 2019 (ACL, P19-1266); Ulmer et al. 2022, arXiv:2204.06815 (the library deepsig).
    """
    a, b = finite(a_scores), finite(b_scores)
    if min(len(a), len(b)) < ORDER_FROM:
        return math.nan
    from scipy.special import ndtri

    rng = np.random.default_rng(seed)
    resampled = (values[rng.integers(len(values), size=(draws, len(values)))] for values in (a, b))
    spread = float((_violations(*resampled) - violation(a, b)).std())
    return min(1.0, violation(a, b) + spread * float(ndtri(level)))


def _violations(a: _Draws, b: _Draws) -> Floats:
    """Of every draw; each score is repeated as often as the other side has scores, so that the quantiles meet."""
    first, second = np.sort(a, axis=1), np.sort(b, axis=1)
    gap = np.repeat(first, b.shape[1], axis=1) - np.repeat(second, a.shape[1], axis=1)
    below, total = (np.minimum(gap, 0) ** 2).sum(axis=1), (gap**2).sum(axis=1)
    shares: Floats = np.divide(below, total, out=np.full(len(total), 0.5), where=total > 0)
    return shares
