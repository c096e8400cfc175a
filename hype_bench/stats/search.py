"""What a search over configurations may be expected to find, and a difference between two searches of equal size."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Difference, Floats, finite, interval_of_mean, mean_and_std, student_p

Search = Float64[Floats, "_configurations seeds"]  # each side has its own number of configurations

_Chances = Float64[Floats, "{tried}"]


def expected_best(scores: ArrayLike, k: int) -> float:
    """The best score to be expected from a search over ``k`` configurations.

    ``scores`` (1-d): the validation scores of K configurations drawn at random. The k are drawn from these without
    replacement, so that P(best <= i-th smallest) = C(i, k) / C(K, k). Closed form, no sampling. This U-statistic is
    right on average whatever K is; drawing with replacement (Dodge et al. 2019, arXiv:1909.03004, section 3.1) lies too
    low the nearer k comes to K, which favours whoever searched more. ValueError unless 1 <= k <= K, or if a score is
    not finite.

    Tang et al. 2020, "Showing Your Work Doesn't Always Work", ACL, arXiv:2004.13705, equation 6.
    """
    ordered = np.sort(finite(scores))
    return float(_chance_of_best(len(ordered), k) @ ordered)


def expected_best_std(scores: ArrayLike, k: int) -> float:
    """Standard deviation of the best of ``k`` around ``expected_best`` over the same draws."""
    ordered = np.sort(finite(scores))
    chance = _chance_of_best(len(ordered), k)
    return math.sqrt(chance @ (ordered - chance @ ordered) ** 2)


def expected_choice(chosen_by: ArrayLike, reported: ArrayLike, k: int) -> float:
    """The ``reported`` score to be expected of the configuration that is best of ``k`` by another score.

    Both 1-d, a score per configuration; ``expected_best`` if the two are the same.
    """
    order = np.argsort(finite(chosen_by), kind="stable")
    return float(_chance_of_best(len(order), k) @ finite(reported)[order])


def difference_of_searches(
    a: tuple[Search, Search], b: tuple[Search, Search], k: int, level: float = 0.95
) -> Difference:
    """a minus b if both searched over ``k`` configurations, and how far it depends on the seeds.

    Each side has the scores by which it chooses and those that it reports, [configurations, seeds]; the seeds are the
    same on both sides. The choice is part of what is repeated: it is made anew without each seed in turn (jackknife),
    and Student's t interval is taken of the pseudo-values. With one configuration on both sides it is that of the
    paired t test. A bootstrap over 3 seeds would be too narrow (it has 0 in 89 % of cases without a difference). No
    interval below two seeds (Efron and Tibshirani 1993, chapter 11).
    """
    seeds = a[0].shape[1]
    every = np.arange(seeds)
    difference = _chosen(*a, every, k) - _chosen(*b, every, k)
    if seeds < 2:
        return Difference(difference, math.nan, math.nan, math.nan)
    others = (np.delete(every, seed) for seed in every)
    without = np.array([_chosen(*a, kept, k) - _chosen(*b, kept, k) for kept in others])
    _, std = mean_and_std(seeds * difference - (seeds - 1) * without)
    low, high = interval_of_mean(difference, std, seeds, level)
    return Difference(difference, low, high, student_p(difference, std / math.sqrt(seeds), seeds - 1))


def _chosen(chosen_by: Search, reported: Search, seeds: np.ndarray, k: int) -> float:
    return expected_choice(chosen_by[:, seeds].mean(axis=1), reported[:, seeds].mean(axis=1), k)


def _chance_of_best(tried: int, k: int) -> _Chances:
    """The probability that the i-th smallest score is the best of k of ``tried`` configurations."""
    if not 1 <= k <= tried:
        raise ValueError(f"the best of k of {tried} configurations needs another k than {k}")
    draws = math.comb(tried, k)
    chances: _Chances = np.diff([math.comb(below, k) / draws for below in range(tried + 1)])
    return chances
