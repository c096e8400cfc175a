"""A permutation test of a difference between two methods over seeds, by flipping signs.

``scipy.stats.permutation_test`` tests the same, but counts a tie that float64 has split as none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hype_bench.stats.draws import DRAWS, ROUNDING, with_observed
from hype_bench.stats.means import finite

SIGN_FLIP_FROM = 6  # seeds: with fewer no p is below 0.05
EXACT_UP_TO = 20  # seeds: 2^20 sign patterns take some ten milliseconds


def permutation_p(differences: ArrayLike, seed: int = 0, draws: int = DRAWS) -> float:
    """Two-sided sign-flip test of paired differences (1-d, one per seed) against a distribution symmetric about 0.

    The share of sign patterns whose mean is at least as far from 0 as the one observed. Exact over all 2^n patterns
    up to ``EXACT_UP_TO`` seeds; above, over ``draws`` random ones and the observed one, (1 + hits) / (1 + draws)
    (Phipson and Smyth 2010). No p is below ``least_p(n)``: three seeds never get below 0.25. NaN for n = 0.

    Fisher 1935, "The Design of Experiments", section 21; Dror et al. 2018 (ACL, P18-1128), section 3.2.
    """
    values = finite(differences)
    if not len(values):
        return math.nan
    limit = abs(values.sum()) - ROUNDING * np.abs(values).max()
    if len(values) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= limit).mean())
    signs = 2 * np.random.default_rng(seed).integers(2, size=(draws, len(values))) - 1
    return with_observed(int((np.abs(signs @ values) >= limit).sum()), draws)


def least_p(n: int, draws: int = DRAWS) -> float:
    """The least p that ``permutation_p`` can give for n seeds: 2 / 2^n, from 1 (n = 1) over 0.25 (n = 3) on.

    n = 6 is the first with which 0.05 can be undercut. Above ``EXACT_UP_TO`` it is 1 / (1 + draws); NaN for n = 0.
    """
    if n < 1:
        return math.nan
    return 2.0 ** (1 - n) if n <= EXACT_UP_TO else with_observed(0, draws)
