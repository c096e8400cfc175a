"""How sure a table may be of a cell: intervals of means, the best of k configurations, many comparisons at once, and
the scores of resampled data.

Pure functions on NumPy arrays. Scores are in the metric's own units, and higher is better. What is not finite is
refused, never averaged away. scipy is imported where it is used: a table that needs none of it stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]  # low, high

_NO_INTERVAL = (math.nan, math.nan)
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


class Difference(NamedTuple):
    """``mean``: that of a minus that of b, in units of the scores; ``p``: two-sided, that the true means are equal."""

    mean: float
    low: float
    high: float
    p: float


def finite(scores: ArrayLike) -> Floats:
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
    half = _t_quantile(level, n - 1) * std / math.sqrt(n)
    return mean - half, mean + half


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
        return Difference(mean, mean, mean, float(mean == 0))
    freedom = 1 / ((error_a / error) ** 2 / (n_a - 1) + (error_b / error) ** 2 / (n_b - 1))
    half = _t_quantile(level, freedom) * math.sqrt(error)

    from scipy.special import stdtr

    p = 2 * float(stdtr(freedom, -abs(mean) / math.sqrt(error)))
    return Difference(mean, mean - half, mean + half, p)


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


def holm(p_values: ArrayLike) -> Floats:
    """p-values (1-d) adjusted so that *any* false claim among them has at most the probability claimed for one.

    In the order given. A NaN, a comparison that could not be made, stays NaN and does not count as one. ValueError if
    a p lies outside [0, 1]. Valid under any dependence (Holm 1979, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6).
    """
    adjusted = np.array(p_values, dtype=np.float64)
    made = np.flatnonzero(~np.isnan(adjusted))
    if ((adjusted[made] < 0) | (adjusted[made] > 1)).any():
        raise ValueError("a p-value lies outside [0, 1]")
    ascending = made[np.argsort(adjusted[made], kind="stable")]
    still_open = np.arange(len(made), 0, -1)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(still_open * adjusted[ascending]), 1)
    return adjusted


def stars(p: float) -> str:
    """``*`` for p < 0.05, ``**`` for p < 0.01, ``***`` for p < 0.001; nothing otherwise, nor for NaN."""
    return next((mark for limit, mark in _STARS if p < limit), "")


def weighted_scores(metric: str, labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """``tasks.metrics.score(metric, ...)[metric]`` of data in which example i stands ``counts[draw, i]`` times.

    labels [examples], predictions [seeds, examples], counts [draws, examples], whole numbers, a positive one in every
    draw -> [draws, seeds]. Exact, ties included, for thousands of resamples at once: no data is copied, and nothing
    is sorted again for a Spearman correlation. F1 needs the classes 0 and 1. KeyError for a metric not in ``WEIGHTED``.
    """
    scores: Floats = np.mean([part(labels, predictions, counts) for part in WEIGHTED[metric]], axis=0)
    return scores


def _check(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(std) and std >= 0):
        raise ValueError(f"not a mean and a standard deviation: {mean} ± {std}")


def _t_quantile(level: float, freedom: float) -> float:
    """What a t variable stays below in absolute value with probability ``level``."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, tails(level)[1]))


def _chance_of_best(scored: int, k: int, lost: int) -> Floats:
    """[scored]: the probability that the i-th smallest score is the best of k of ``scored + lost`` configurations."""
    count = scored + lost
    if not lost < k <= count:
        raise ValueError(f"the best of k of {count} configurations, {lost} without a score, needs another k than {k}")
    draws = math.comb(count, k)
    chances: Floats = np.diff([math.comb(below, k) / draws for below in range(lost, count + 1)])
    return chances


def _sizes(counts: Floats) -> Floats:
    """[draws, 1]: how many examples a draw has."""
    sizes: Floats = counts.sum(axis=1, keepdims=True)
    return sizes


def _total(counts: Floats, true: NDArray[np.bool_]) -> Floats:
    """[draws, seeds]: for how many examples of a draw ``true`` [seeds, examples] holds."""
    return counts @ true.T.astype(np.float64)


def _accuracy(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    return _total(counts, predictions == labels) / _sizes(counts)


def _f1(labels: Floats, predictions: Floats, counts: Floats, kind: float = 1.0) -> Floats:
    """2 TP / (2 TP + FP + FN) of class 1; 0 if there is neither a label nor a prediction of it."""
    hits, claims = _total(counts, (predictions == kind) & (labels == kind)), _claims(labels, predictions, counts, kind)
    return np.divide(2 * hits, claims, out=np.zeros_like(claims), where=claims > 0)


def _claims(labels: Floats, predictions: Floats, counts: Floats, kind: float) -> Floats:
    """[draws, seeds]: labels and predictions of a class."""
    return _total(counts, predictions == kind) + _total(counts, labels[None] == kind)


def _macro_f1(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """The mean of the classes' F1 over those that a draw has among its labels or predictions."""
    kinds = np.union1d(labels, predictions)
    total = np.sum([_f1(labels, predictions, counts, kind) for kind in kinds], axis=0)
    present: Floats = np.sum([_claims(labels, predictions, counts, kind) > 0 for kind in kinds], axis=0)
    return np.asarray(total / present)


def _matthews(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """For any number of classes (R_K of Gorodkin 2004); 0 if labels or predictions are constant."""
    n = _sizes(counts)
    shared, of_labels, of_predictions = n * _total(counts, predictions == labels), n**2, n**2
    for kind in np.union1d(labels, predictions):
        true, said = _total(counts, labels[None] == kind), _total(counts, predictions == kind)
        shared, of_labels, of_predictions = shared - true * said, of_labels - true**2, of_predictions - said**2
    scale: Floats = np.sqrt(of_labels) * np.sqrt(of_predictions)
    return np.divide(shared, scale, out=np.zeros_like(scale), where=scale > 0)


def _pearson(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    return np.stack([_correlation(labels, run, counts) for run in predictions], axis=1)


def _spearman(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    ranks = _ranks(labels, counts)
    return np.stack([_correlation(ranks, _ranks(run, counts), counts) for run in predictions], axis=1)


def _ranks(values: Floats, counts: Floats) -> Floats:
    """[draws, examples]: the rank in a draw, ties sharing the mean: as many as lie below, and half of the equals."""
    distinct, place = np.unique(values, return_inverse=True)
    first = np.searchsorted(np.sort(place), np.arange(len(distinct)))
    equal = np.add.reduceat(counts[:, np.argsort(place, kind="stable")], first, axis=1)
    return (np.cumsum(equal, axis=1) - (equal - 1) / 2)[:, place]


def _correlation(x: Floats, y: Floats, counts: Floats) -> Floats:
    """[draws], of values [examples] or [draws, examples]; NaN where a side is constant."""
    x, y = _centred(x, counts), _centred(y, counts)
    xy, xx, yy = (np.einsum("de,de,de->d", counts, *pair) for pair in ((x, y), (x, x), (y, y)))
    scale: Floats = np.sqrt(xx) * np.sqrt(yy)
    found: Floats = np.divide(xy, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return found.clip(-1, 1)


def _centred(values: Floats, counts: Floats) -> Floats:
    """[draws, examples]: minus the draw's mean. First minus one of its own values: a constant becomes exactly 0."""
    drawn = np.argmax(counts > 0, axis=1)[:, None]
    shifted: Floats = values - np.take_along_axis(np.broadcast_to(values, counts.shape), drawn, axis=1)
    means: Floats = np.einsum("de,de->d", counts, shifted)[:, None] / _sizes(counts)
    return shifted - means


WEIGHTED: dict[str, tuple[Callable[[Floats, Floats, Floats], Floats], ...]] = {
    "accuracy": (_accuracy,),
    "f1": (_f1,),
    "accuracy_f1": (_accuracy, _f1),
    "macro_f1": (_macro_f1,),
    "matthews": (_matthews,),
    "pearson": (_pearson,),
    "spearman": (_spearman,),
    "pearson_spearman": (_pearson, _spearman),
}
TWO_CLASS_METRICS = ("f1", "accuracy_f1")  # F1 is that of the second class
