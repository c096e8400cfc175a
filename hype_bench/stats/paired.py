"""Is method a better than method b? Comparisons paired by seed, or by seed and example.

Two questions that are easily taken for one another. Over *seeds*: would the difference show again if both were
trained anew? Over *examples*: would these very runs differ on other examples of the same kind? A claim about
techniques needs the first; with three seeds only the second has many observations.

Scores are in the metric's own units, higher is better, and what is not finite is refused. Every draw comes from
``numpy.random.default_rng(seed)``: the same seed gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hype_bench.stats.statistics import (
    TWO_CLASS_METRICS,
    WEIGHTED,
    Difference,
    Floats,
    Interval,
    finite,
    interval_of_mean,
    mean_and_std,
    tails,
    weighted_scores,
)

EXACT_UP_TO = 16  # seeds: 2^16 sign patterns take about a millisecond

_DRAWS = 10_000  # over seeds, where a draw costs next to nothing
_ROUNDING = 1e-9  # relative: what differs by less is a tie that float64 has split
_CELLS = 2**20  # draws x examples at a time: 8 MiB


@dataclass(frozen=True)
class Paired:
    """a minus b over ``n`` seeds: mean, standard deviation (n - 1) and Student's t interval; NaN where n is too few."""

    mean: float
    std: float
    n: int
    low: float
    high: float


def seed_differences(a: Mapping[int, float], b: Mapping[int, float]) -> Floats:
    """a minus b (seed -> score) for the seeds that both have, in order of the seeds. ValueError if one is not finite.

    A seed that only one side has tells nothing about a pair and is left out, whatever its score.
    """
    return finite([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = 0.95) -> Paired:
    """The mean of ``seed_differences`` and its t interval, which is that of the paired t test (Student 1908).

    No interval below two common seeds, no mean without any: those are NaN.
    """
    found = seed_differences(a, b)
    mean, std = mean_and_std(found)
    return Paired(mean, std, len(found), *interval_of_mean(mean, std, len(found), level))


def permutation_p(differences: ArrayLike, seed: int = 0, draws: int = _DRAWS) -> float:
    """Two-sided sign-flip test of paired differences (1-d, one per seed) against a distribution symmetric about 0.

    The share of sign patterns whose mean is at least as far from 0 as the one observed. Exact over all 2^n patterns
    up to ``EXACT_UP_TO`` seeds; above, over ``draws`` random ones and the observed one, (1 + hits) / (1 + draws)
    (Phipson and Smyth 2010). No p is below ``least_p(n)``: three seeds never get below 0.25. NaN for n = 0.

    Fisher 1935, "The Design of Experiments", section 21; Dror et al. 2018 (ACL, P18-1128), section 3.2.
    """
    found = finite(differences)
    if not len(found):
        return math.nan
    limit = abs(found.sum()) - _ROUNDING * np.abs(found).max()
    if len(found) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in found:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= limit).mean())
    signs = 2 * np.random.default_rng(seed).integers(2, size=(draws, len(found))) - 1
    return _with_observed(int((np.abs(signs @ found) >= limit).sum()), draws)


def least_p(n: int, draws: int = _DRAWS) -> float:
    """The least p that ``permutation_p`` can give for n seeds: 2 / 2^n, from 1 (n = 1) over 0.25 (n = 3) on.

    n = 6 is the first with which 0.05 can be undercut. Above ``EXACT_UP_TO`` it is 1 / (1 + draws); NaN for n = 0.
    """
    if n < 1:
        return math.nan
    return 2.0 ** (1 - n) if n <= EXACT_UP_TO else _with_observed(0, draws)


def bootstrap_p(differences: ArrayLike, draws: int = _DRAWS, seed: int = 0) -> float:
    """Two-sided p by resampling the seeds (differences 1-d): twice the share of resampled means on the rarer side of 0.

    At least 2 / (1 + draws); below 0.05 where the 95 % percentile interval leaves 0 out. Far too small for few seeds,
    as no resample has more spread than the sample: with n = 3 it is below 0.05 whenever all three signs agree, in a
    quarter of all cases without any difference; ``permutation_p`` keeps its level for any number of seeds. NaN below
    two (Efron and Tibshirani 1993, section 13.3).
    """
    found = finite(differences)
    return _two_sided(_resampled_means(found, draws, seed)) if len(found) > 1 else math.nan


def probability_of_improvement(a_scores: ArrayLike, b_scores: ArrayLike) -> float:
    """P(a > b) + P(a = b) / 2 over all pairs of a run of a and one of b (1-d each): U / (n m) of Mann and Whitney.

    ValueError if a side has no run. Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
    Precipice", arXiv:2108.13264, section 4 (the library rliable).
    """
    a, b = finite(a_scores), finite(b_scores)
    if not (len(a) and len(b)):
        raise ValueError("a probability of improvement needs a run on both sides")
    return float((np.sign(a[:, None] - b).mean() + 1) / 2)


def bootstrap_examples(
    metric: str,
    labels: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """The mean over seeds of metric(a) - metric(b), and how far it hangs on the examples it was measured on.

    ``metric``: one that ``hype_bench.tasks.metrics.score`` knows; labels [examples]; predictions [seeds, examples] or
    [examples]. In every draw all runs are scored on the same examples, drawn with replacement; percentile interval
    and the p that belongs to it. The seeds are held fixed: nothing is said about new ones. NaN if a draw has no score
    (a correlation with a constant). ValueError if the shapes do not match or a value is not finite.

    Koehn 2004 (EMNLP, W04-3250); Berg-Kirkpatrick et al. 2012 (EMNLP, D12-1091).
    """
    labels, both = _checked(metric, labels, predictions_a, predictions_b)
    rng = np.random.default_rng(seed)
    samples = (_resample(len(labels), rows, rng) for rows in _parts(draws, len(labels)))
    drawn = np.concatenate([_gap(weighted_scores(metric, labels, both, counts)) for counts in samples])
    observed = float(_gap(weighted_scores(metric, labels, both, np.ones((1, len(labels)))))[0])
    return Difference(observed, *_percentiles(drawn, level), _two_sided(drawn))


def permutation_examples(
    metric: str,
    labels: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
) -> float:
    """Two-sided p of that difference if it made no difference which of a and b answered an example.

    Approximate randomisation: in every draw each example's predictions, of all seeds together, go to the other side
    with probability 1/2; (1 + hits) / (1 + draws). Arguments, NaN and errors as in ``bootstrap_examples``.

    Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; Yeh 2000, arXiv:cs/0008005.
    """
    labels, both = _checked(metric, labels, predictions_a, predictions_b)
    observed = _gap(weighted_scores(metric, labels, both, np.ones((1, len(labels)))))
    examples, twice = len(labels), np.tile(labels, 2)
    pool = np.concatenate(np.split(both, 2), axis=1)  # [seeds, a's examples and then b's]
    rng = np.random.default_rng(seed)
    gaps = []
    for rows in _parts(draws, 2 * examples):
        kept = rng.integers(2, size=(rows, examples)).astype(np.float64)
        sides = (np.concatenate(halves, axis=1) for halves in ((kept, 1 - kept), (1 - kept, kept)))
        gaps.append(_gap(np.concatenate([weighted_scores(metric, twice, pool, side) for side in sides], axis=1)))
    drawn = np.abs(np.concatenate([observed, *gaps]))
    if np.isnan(drawn).any():
        return math.nan
    return float((drawn >= drawn[0] - _ROUNDING * drawn.max()).mean())


def _checked(metric: str, labels: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """labels [examples], and the predictions of a and then b, [2 x seeds, examples]."""
    truth, first, second = (np.asarray(values, dtype=np.float64) for values in (labels, a, b))
    first, second = np.atleast_2d(first, second)
    if metric not in WEIGHTED:
        raise ValueError(f"no metric {metric!r}; there are {', '.join(WEIGHTED)}")
    if first.shape != second.shape or first.shape[1:] != truth.shape or not first.size:
        raise ValueError(f"{truth.shape} labels, but predictions of shapes {first.shape} and {second.shape}")
    both = np.concatenate([first, second])
    if not (np.isfinite(truth).all() and np.isfinite(both).all()):
        raise ValueError("a label or a prediction is NaN or infinite")
    if metric in TWO_CLASS_METRICS and not (np.isin(truth, (0, 1)).all() and np.isin(both, (0, 1)).all()):
        raise ValueError("F1 is that of class 1 of the classes 0 and 1; there are others")
    return truth, both


def _gap(scores: Floats) -> Floats:
    """[draws, seeds of a and then of b] -> [draws]: the mean over the seeds of a minus that of b."""
    a, b = np.split(scores, 2, axis=1)
    gap: Floats = (a - b).mean(axis=1)
    return gap


def _parts(draws: int, examples: int) -> Iterator[int]:
    """How many draws to take at a time, so that no array outgrows ``_CELLS``."""
    rows = max(1, _CELLS // examples)
    return (min(rows, draws - start) for start in range(0, draws, rows))


def _resample(n: int, draws: int, rng: np.random.Generator) -> Floats:
    """[draws, n]: how often each of n things comes when n are drawn with replacement."""
    drawn = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def _resampled_means(values: Floats, draws: int, seed: int) -> Floats:
    return _resample(len(values), draws, np.random.default_rng(seed)) @ values / len(values)


def _percentiles(drawn: Floats, level: float) -> Interval:
    low, high = np.quantile(drawn, tails(level))
    return float(low), float(high)


def _two_sided(drawn: Floats) -> float:
    """Twice the share of draws on the rarer side of 0, 0 being on both; one draw is added, lest p be 0."""
    if np.isnan(drawn).any():
        return math.nan
    tie = _ROUNDING * np.abs(drawn).max()
    rarer = min(int((drawn <= tie).sum()), int((drawn >= -tie).sum()))
    return min(1.0, 2 * _with_observed(rarer, len(drawn)))


def _with_observed(hits: int, draws: int) -> float:
    return (1 + hits) / (1 + draws)
