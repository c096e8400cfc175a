"""Seeds until it is decided: a test that may be looked at after every seed, and stopped at any.

An ordinary t test that is repeated after each seed until p < 0.05 finds a difference between identical techniques far
more often than in 5 % of the cases. The anytime-valid t test does not, however long one goes on and for whatever reason
one stops, which is what a sweep needs that is interrupted, resumed and extended. A group-sequential design would decide
a little sooner, but has its looks and its last seed fixed in advance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Floats, finite, tails
from hype_bench.stats.verdict import HELPS, HURTS, MARGIN, NO_DIFFERENCE, UNDECIDED

EFFECT = 1.0  # standard deviation of the effects that are looked for, in standard deviations of the differences
LEAST = 5  # seeds before which nothing is decided
_GRID = 1e-9  # less than any two different scores of a split lie apart
_PerSeeds = Float64[Floats, "looks"]


@dataclass(frozen=True)
class Decision:
    """``word``: one of a verdict's four; ``seeds``: after how many it came out, or how many there are if it has not."""

    word: str
    seeds: int


def decide(differences: ArrayLike, margin: float = MARGIN, least: int = LEAST, level: float = 0.95) -> Decision:
    """The first decision that the confidence sequence of paired differences (one per seed, in their order) allows.

    From ``least`` seeds on: no difference where it lies within the margin, helps or hurts where it leaves 0 out. A
    decision once made stands, whatever later seeds say. The probability of ever calling techniques with equal means
    different is at most 1 - ``level``, as is that of ever calling a difference of the margin none. About the examples
    that the seeds are scored on. ValueError if a difference is not finite or the margin is negative.

    Scores lie on a grid, and seeds that agree exactly are no absence of spread: a difference that is the same on all of
    them, and not 0, is decided when a sign test allows it, which may be looked at as often.
    """
    if not margin >= 0:
        raise ValueError(f"a margin is 0 or more, not {margin}")
    values = finite(differences)
    values = np.where(np.abs(values) > _GRID, values, 0.0)
    lows, highs = confidence_sequence(values, level)
    for seeds in range(max(least, 2), len(values) + 1):
        if values[0] != 0 and np.ptp(values[:seeds]) <= _GRID and not _signs_decide(seeds, level):
            continue
        low, high = lows[seeds - 2], highs[seeds - 2]
        if -margin < low and high < margin:
            return Decision(NO_DIFFERENCE, seeds)
        if low > 0 or high < 0:
            return Decision(HELPS if low > 0 else HURTS, seeds)
    return Decision(UNDECIDED, len(values))


def _signs_decide(seeds: int, level: float) -> bool:
    """Whether a fair coin that has shown so many equal sides is refuted, however often one looks.

    Robbins 1970, "Statistical methods related to the law of the iterated logarithm", Annals of Math. Statistics 41.
    """
    return bool((seeds + 1) / 2**seeds <= 1 - level)


def confidence_sequence(differences: ArrayLike, level: float = 0.95) -> tuple[_PerSeeds, _PerSeeds]:
    """Lower and upper ends after 2, 3, ... values: all of them contain the true mean with probability ``level``.

    The inversion of the t test whose evidence is a mixture over effects of mean 0 and standard deviation ``EFFECT``.
    Infinite while there are too few values. ValueError if one is not finite.

    Lai 1976, "On confidence sequences", Annals of Statistics 4; Wang and Ramdas 2023, "Anytime-valid t-tests and
    confidence sequences for Gaussian means with unknown variance", arXiv:2310.03722.
    """
    values = finite(differences)
    n = np.arange(2, len(values) + 1, dtype=np.float64)
    shifted = values - values[:1]  # equal values have no spread at all
    sums, squares = np.cumsum(shifted)[1:], np.cumsum(shifted**2)[1:]
    variance = np.maximum(squares - sums**2 / n, 0) / (n - 1)
    half = np.multiply(_half_widths(n, level), np.sqrt(variance / n), out=np.zeros_like(n), where=variance > 0)
    mean = values[:1] + sums / n
    return mean - half, mean + half


def _half_widths(n: _PerSeeds, level: float) -> _PerSeeds:
    """In standard errors: the |t| at which the evidence reaches 1 / (1 - level).

    With n values, t and prior N(0, EFFECT^2) on the effect, the evidence is (1 + n EFFECT^2)^(-1/2)
    ((1 + t^2 / (n - 1)) / (1 + t^2 / ((n - 1) (1 + n EFFECT^2))))^(n / 2) (Gönen et al. 2005).
    """
    alpha, spread = 2 * tails(level)[0], 1 + n * EFFECT**2
    ratio = (np.sqrt(spread) / alpha) ** (2 / n)
    reached = ratio < spread
    squared = np.divide((n - 1) * (ratio - 1), 1 - ratio / spread, out=np.full_like(n, math.inf), where=reached)
    return np.asarray(np.sqrt(squared))
