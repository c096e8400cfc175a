"""Can a task tell methods apart at all? How far their means lie apart, against how far seeds scatter.

Heineman et al. 2025, "Signal and Noise", arXiv:2508.13144 (code allenai/signal-and-noise, commit 48fbb34), set the
range of all methods' scores against the scatter of one method, both relative to their means. Here the ratio is in the
scores' own units, since a correlation's mean may be 0, and it is held against luck: of M equal methods with S seeds
each the means differ as well, by ``expected_range(M) / sqrt(S)`` of the noise on average.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hype_bench.stats.means import finite, mean_and_std

_ROUNDING = 1e-12  # of scores
_GRID = np.linspace(-10.0, 10.0, 4001)  # of standard normals: the rest of the integral is below 1e-20


@dataclass(frozen=True)
class Separation:
    """``signal``: range of the methods' means; ``noise``: standard deviation over seeds within a method, with
    ``freedom`` degrees of freedom; both in units of the scores. ``seeds``: of a method, on average. Numbers that cannot
    be given are NaN, and ``ratio`` is infinite without any noise."""

    signal: float
    noise: float
    methods: int
    seeds: float
    freedom: int

    @property
    def ratio(self) -> float:
        return self.signal / self.noise if self.noise else math.inf if self.signal else math.nan

    @property
    def luck(self) -> float:
        """What the ratio is on average if all methods are equal."""
        return expected_range(self.methods) / math.sqrt(self.seeds)

    @property
    def beyond_luck(self) -> float:
        """The ratio as a multiple of what luck gives; about 1 if all methods are equal."""
        return self.ratio / self.luck

    @property
    def p(self) -> float:
        """How often equal methods would lie as far apart: Tukey and Kramer's test."""
        from scipy.stats import studentized_range  # takes a second

        if math.isnan(self.ratio):
            return 1.0 if self.signal == 0 else math.nan
        return float(studentized_range.sf(self.ratio * math.sqrt(self.seeds), self.methods, self.freedom))


NOT_COMPUTABLE = Separation(math.nan, math.nan, 0, math.nan, 0)


def separation(scores: Iterable[ArrayLike]) -> Separation:
    """Of a task: ``scores`` has the seeds of each method (1-d each, as many as there are).

    The noise is pooled over methods with n - 1, and the number of seeds is the harmonic mean. ``p`` is exact for equal
    numbers of normal scores of equal spread. NOT_COMPUTABLE below two methods, or if none has two seeds. ValueError if
    a score is not finite, or a method has none.

    A bootstrap interval of the ratio would not do: a resample's means scatter more than the sample's, so that with 3
    seeds it lies above luck in a third of all cases without any difference.
    """
    groups = [finite(values) for values in scores]
    if any(not len(values) for values in groups):
        raise ValueError("a method without a score")
    freedom = sum(len(values) - 1 for values in groups)
    if len(groups) < 2 or not freedom:
        return NOT_COMPUTABLE
    squares = sum((len(values) - 1) * mean_and_std(values)[1] ** 2 for values in groups if len(values) > 1)
    noise = math.sqrt(squares / freedom)
    seeds = len(groups) / sum(1 / len(values) for values in groups)
    means = [mean_and_std(values)[0] for values in groups]
    return Separation(max(means) - min(means), noise, len(groups), seeds, freedom)


def paired_separation(scores: ArrayLike) -> Separation:
    """The same for methods with the same seeds, [methods, seeds]: what a seed does to all of them alike is no noise.

    The noise is what is left beside the means of methods and of seeds, with (methods - 1)(seeds - 1) degrees of
    freedom; sqrt(2) of it is the mean spread of the paired difference of two methods. NOT_COMPUTABLE below two methods
    or seeds.
    """
    values = np.asarray(scores, dtype=np.float64)
    methods, seeds = values.shape
    freedom = (methods - 1) * (seeds - 1)
    if freedom < 1:
        return NOT_COMPUTABLE
    finite(values.ravel())
    values = values - values[0, 0]  # equal scores then have exactly no noise
    of_methods = values.mean(axis=1)
    left = values - of_methods[:, None] - values.mean(axis=0) + values.mean()
    left[np.abs(left) < _ROUNDING] = 0
    noise = math.sqrt(float((left**2).sum()) / freedom)
    return Separation(float(np.ptp(of_methods)), noise, methods, seeds, freedom)


def expected_range(n: int) -> float:
    """The expected range of n standard normals: 1.128 of two, 3.078 of ten (Tippett 1925)."""
    from scipy.special import ndtr

    below = ndtr(_GRID)
    return float(np.trapezoid(1 - (1 - below) ** n - below**n, _GRID))


def relative_signal(means: ArrayLike) -> float:
    """The range of the methods' means by their mean (Heineman et al.; ``snr/metrics.py``)."""
    values = finite(means)
    return float(np.ptp(values) / values.mean())


def relative_noise(scores: ArrayLike) -> float:
    """The population's standard deviation of one method's scores by their mean (Heineman et al.)."""
    values = finite(scores)
    return float(values.std() / values.mean())


def decision_accuracy(scores: ArrayLike, others: ArrayLike) -> float:
    """The share of pairs of methods that two lists of scores order alike; a tie counts as "not greater" in both.

    NaN below two methods (Heineman et al.; ``snr/metrics.py``).
    """
    a, b = finite(scores), finite(others)
    first, second = np.triu_indices(len(a), 1)
    alike = (a[first] > a[second]) == (b[first] > b[second])
    return float(alike.mean()) if len(alike) else math.nan


def one_seed_decides(scores: ArrayLike) -> float:
    """How often one seed orders two methods as the mean of the other seeds does: the mean ``decision_accuracy``.

    [methods, seeds], the same seeds for all; NaN below two methods or seeds.
    """
    values = np.asarray(scores, dtype=np.float64)
    seeds = values.shape[1]
    if min(values.shape) < 2:
        return math.nan
    others = (values.sum(axis=1, keepdims=True) - values) / (seeds - 1)
    return float(np.mean([decision_accuracy(values[:, n], others[:, n]) for n in range(seeds)]))
