"""Is method a better than method b? Differences paired by seed.

Two questions that are easily taken for one another. Over *seeds*: would the difference show again if both were
trained anew? Over *examples*: would these very runs differ on other examples of the same kind? A claim about
techniques needs the first; with three seeds only the second has many observations.

Scores are in the metric's own units, higher is better, and what is not finite is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hype_bench.stats.means import Vector, finite, interval_of_mean, mean_and_std


@dataclass(frozen=True)
class Paired:
    """a minus b over ``n`` seeds: mean, standard deviation (n - 1) and Student's t interval; NaN where n is too few."""

    mean: float
    std: float
    n: int
    low: float
    high: float


def seed_differences(a: Mapping[int, float], b: Mapping[int, float]) -> Vector:
    """a minus b (seed -> score) for the seeds that both have, in order of the seeds. ValueError if one is not finite.

    A seed that only one side has tells nothing about a pair and is left out, whatever its score.
    """
    return finite([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Paired:
    """The mean of ``seed_differences`` and its t interval, which is that of the paired t test (Student 1908).

    No interval below two common seeds, no mean without any: those are NaN.
    """
    differences = seed_differences(a, b)
    mean, std = mean_and_std(differences)
    return Paired(mean, std, len(differences), *interval_of_mean(mean, std, len(differences), level))


def probability_of_improvement(a_scores: ArrayLike, b_scores: ArrayLike) -> float:
    """P(a > b) + P(a = b) / 2 over all pairs of a run of a and one of b (1-d each): U / (n m) of Mann and Whitney.

    ValueError if a side has no run. Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
    Precipice", arXiv:2108.13264, section 4 (the library rliable).
    """
    a, b = finite(a_scores), finite(b_scores)
    if not (len(a) and len(b)):
        raise ValueError("a probability of improvement needs a run on both sides")
    return float((np.sign(a[:, None] - b).mean() + 1) / 2)
