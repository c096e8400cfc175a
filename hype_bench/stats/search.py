"""What a search over configurations may be expected to find."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Floats, finite

_Chances = Float64[Floats, "{scored}"]


def expected_best(scores: ArrayLike, k: int, lost: int = 0) -> float:
    """The best score to be expected from a search over ``k`` configurations.

    ``scores`` (1-d): the validation scores of configurations drawn at random; ``lost``: how many more gave none, which
    stand below all others. The k are drawn from these K without replacement, so that
    P(best <= i-th smallest) = C(i, k) / C(K, k). Closed form, no sampling. This U-statistic is right on average
    whatever K is; drawing with replacement (Dodge et al. 2019, arXiv:1909.03004, section 3.1) lies too low the nearer
    k comes to K, which favours whoever searched more. ValueError unless lost < k <= K, or if a score is not finite.

    Tang et al. 2020, "Showing Your Work Doesn't Always Work", ACL, arXiv:2004.13705, equation 6.
    """
    ordered = np.sort(finite(scores))
    return float(_chance_of_best(len(ordered), k, lost) @ ordered)


def expected_best_std(scores: ArrayLike, k: int, lost: int = 0) -> float:
    """Standard deviation of the best of ``k`` around ``expected_best`` over the same draws."""
    ordered = np.sort(finite(scores))
    chance = _chance_of_best(len(ordered), k, lost)
    return math.sqrt(chance @ (ordered - chance @ ordered) ** 2)


def _chance_of_best(scored: int, k: int, lost: int) -> _Chances:
    """The probability that the i-th smallest score is the best of k of ``scored + lost`` configurations."""
    count = scored + lost
    if not lost < k <= count:
        raise ValueError(f"the best of k of {count} configurations, {lost} without a score, needs another k than {k}")
    draws = math.comb(count, k)
    chances: _Chances = np.diff([math.comb(below, k) / draws for below in range(lost, count + 1)])
    return chances
