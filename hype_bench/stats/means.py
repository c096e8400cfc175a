"""Means of scores over seeds, and Student's and Welch's intervals around them.

Scores are in the metric's own units, and higher is better. What is not finite is refused, never averaged away.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

Floats = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]  # jaxtyping takes no NDArray of numpy 2.5
Vector = Float64[Floats, "n"]  # of scores, one per run or seed
Interval = tuple[float, float]  # low, high

_NO_INTERVAL = (math.nan, math.nan)


class Difference(NamedTuple):
    """``mean``: that of a minus that of b, in units of the scores; ``p``: two-sided, that the true means are equal."""

    mean: float
    low: float
    high: float
    p: float

    @property
    def untested(self) -> Difference:
        """The mean alone."""
        return self._replace(low=math.nan, high=math.nan, p=math.nan)


def finite(scores: ArrayLike) -> Vector:
    """The scores as a 1-d array of float64. ValueError if one is NaN or infinite, or if the shape is another."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores must be 1-d, not of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a score is NaN or infinite; leave the run out and say so, it cannot be averaged")
    return values


def mean_and_std(scores: ArrayLike) -> tuple[float, float]:
    """Mean, NaN without a score, and standard deviation with n - 1, NaN below two. Of equal scores it is exactly 0."""
    values = finite(scores)
    if not len(values):
        return math.nan, math.nan
    from_first = values - values[0]
    std = float(from_first.std(ddof=1)) if len(values) > 1 else math.nan
    return float(values[0] + from_first.mean()), std


def tails(level: float) -> Interval:
    """The quantiles between which a central interval lies: 0.95 -> (0.025, 0.975). ValueError outside of 0 to 1."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, as 0.95 does, not {level}")
    return (1 - level) / 2, (1 + level) / 2


def interval_of_mean(mean: float, std: float, n: int, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent scores, one per seed, from what a paper prints: mean, standard
    deviation (n - 1 in the denominator), number of seeds.

    In repeated experiments it contains the true mean in ``level`` of the cases if the scores are normal; it is about
    the mean over seeds, not about a single run. NaN below two scores; both ends equal the mean if all scores do.
    ValueError if mean or std is not finite (Student 1908, "The probable error of a mean").
    """
    if n < 2:
        return _NO_INTERVAL
    _check(mean, std)
    return student_interval(mean, std / math.sqrt(n), n - 1, level)


def difference_of_means(
    mean_a: float, std_a: float, n_a: int, mean_b: float, std_b: float, n_b: int, level: float = 0.95
) -> Difference:
    """Welch's t interval and test of the difference of two means whose scores are *not* paired.

    From mean, standard deviation (n - 1) and number of seeds, as in ``scipy.stats.ttest_ind_from_stats``: a printed
    number of a paper agrees with ours if the interval contains 0. Interval and p are NaN if one side has fewer than
    two seeds; without any spread on both sides the interval is a point, and p is 1 or 0. ValueError if a mean or a
    standard deviation is not finite, or the latter negative.

    Welch 1947, "The generalization of 'Student's' problem when several different population variances are involved".
    """
    if min(n_a, n_b) < 2:
        return Difference(mean_a - mean_b, *_NO_INTERVAL, math.nan)
    _check(mean_a, std_a)
    _check(mean_b, std_b)
    mean, error_a, error_b = mean_a - mean_b, std_a**2 / n_a, std_b**2 / n_b
    error = error_a + error_b
    if error == 0:
        return Difference(mean, mean, mean, student_p(mean, 0, 1))
    freedom = 1 / ((error_a / error) ** 2 / (n_a - 1) + (error_b / error) ** 2 / (n_b - 1))
    low, high = student_interval(mean, math.sqrt(error), freedom, level)
    return Difference(mean, low, high, student_p(mean, math.sqrt(error), freedom))


def student_interval(mean: float, error: float, freedom: float, level: float = 0.95) -> Interval:
    """Around a mean with its standard error."""
    half = _t_quantile(level, freedom) * error
    return mean - half, mean + half


def student_p(mean: float, error: float, freedom: float) -> float:
    """Two-sided p of Student's t test of a mean with its standard error; 0 or 1 without any error."""
    from scipy.special import stdtr  # imported where used: a table that needs none of it stays quick

    return 2 * float(stdtr(freedom, -abs(mean) / error)) if error else float(mean == 0)


def _check(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(std) and std >= 0):
        raise ValueError(f"not a mean and a standard deviation: {mean} ± {std}")


def _t_quantile(level: float, freedom: float) -> float:
    """What a t variable stays below in absolute value with probability ``level``."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, tails(level)[1]))
