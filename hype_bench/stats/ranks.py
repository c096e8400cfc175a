"""Several methods on several tasks by their ranks (Demsar 2006, "Statistical Comparisons of Classifiers over Multiple
Data Sets", JMLR 7): here the tasks are the sample, and seeds only enter the score that a method has on a task.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.draws import DRAWS, ROUNDING, with_observed
from hype_bench.stats.means import Floats, Vector, finite

Ranks = Float64[Floats, "tasks methods"]


def ranks(scores: ArrayLike) -> Ranks:
    """Of every method on every task, [tasks, methods]: 1 for the best, ties their mean. ValueError if not finite."""
    values = np.asarray(scores, dtype=np.float64)
    finite(values.ravel())
    better = (values[:, :, None] < values[:, None, :]).sum(axis=2)
    equal = (values[:, :, None] == values[:, None, :]).sum(axis=2)
    places: Ranks = better + (equal + 1) / 2
    return places


def mean_ranks(scores: ArrayLike) -> Vector:
    """The mean rank of every method over the tasks."""
    means: Vector = ranks(scores).mean(axis=0)
    return means


def friedman_p(scores: ArrayLike, draws: int = DRAWS, seed: int = 0) -> float:
    """That all methods are alike: Friedman's test, by permuting the ranks within every task.

    Random permutations and the observed one, since chi-squared and Iman and Davenport's F need more tasks than a table
    has. 1 where all methods are tied on every task; NaN below two tasks or two methods. ValueError as ``ranks``.
    """
    places = ranks(scores)
    tasks, methods = places.shape
    if min(tasks, methods) < 2:
        return math.nan
    permuted = np.random.default_rng(seed).permuted(np.broadcast_to(places, (draws, tasks, methods)), axis=2)
    spread = ((permuted.sum(axis=1) - tasks * (methods + 1) / 2) ** 2).sum(axis=1)
    observed = ((places.sum(axis=0) - tasks * (methods + 1) / 2) ** 2).sum()
    return with_observed(int((spread >= observed * (1 - ROUNDING)).sum()), draws)


def critical_difference(methods: int, tasks: int, level: float = 0.05) -> float:
    """Mean ranks of two methods that differ by less are not told apart (Nemenyi's test)."""
    from scipy.stats import studentized_range  # takes a second

    quantile = float(studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * tasks))
