"""Bootstrap tests of a difference between two methods: resampling its seeds, or seeds and examples at once."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.draws import DRAWS, ROUNDING, batches, with_observed
from hype_bench.stats.means import Difference, Floats, Vector, finite, tails
from hype_bench.stats.resampled import checked_predictions, seed_gaps, weighted_scores

BOOTSTRAP_FROM = 10  # seeds: a resample of fewer has too little spread
_Counts = Float64[Floats, "{draws} {n}"]


def bootstrap_p(differences: ArrayLike, draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p by resampling the seeds (differences 1-d): twice the share of resampled means on the rarer side of 0.

    At least 2 / (1 + draws); below 0.05 where the 95 % percentile interval leaves 0 out. Far too small for few seeds,
    as no resample has more spread than the sample: with n = 3 it is below 0.05 whenever all three signs agree, in a
    quarter of all cases without any difference; ``permutation_p`` keeps its level for any number of seeds. NaN below
    two (Efron and Tibshirani 1993, section 13.3).
    """
    values = finite(differences)
    if len(values) < 2:
        return math.nan
    return _two_sided(_resample(len(values), draws, np.random.default_rng(seed)) @ values)  # sums have the means' signs


def multi_bootstrap(
    metric: str,
    labels: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """The mean over seeds of metric(a) - metric(b), and how far it depends on the seeds and the examples.

    ``metric``: one that ``hype_bench.tasks.metrics.score`` knows; labels [examples]; predictions [seeds, examples], one
    seed after another the same for a and b. In every draw seeds and examples are drawn with replacement, and all runs
    are scored on the same examples; percentile interval and the p that belongs to it. For few seeds both are too
    narrow, as ``bootstrap_p`` is; where neither seeds nor examples matter, too wide by sqrt(3) (Owen 2007). NaN if a
    draw has no score (a correlation with a constant). ValueError if the shapes do not match or a value is not finite.

    Sellam et al. 2022, "The MultiBERTs", arXiv:2106.16163, section 4 (paired by seed); Owen 2007, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1.
    """
    labels, both = checked_predictions(metric, labels, predictions_a, predictions_b)
    rng = np.random.default_rng(seed)
    seeds = _resample(len(both) // 2, draws, rng) / (len(both) // 2)
    samples = (_resample(len(labels), rows, rng) for rows in batches(draws, len(labels)))
    by_seed = np.concatenate([seed_gaps(weighted_scores(metric, labels, both, counts)) for counts in samples])
    gaps = (seeds * by_seed).sum(axis=1)
    observed = seed_gaps(weighted_scores(metric, labels, both, np.ones((1, len(labels)))))
    low, high = np.quantile(gaps, tails(level))
    return Difference(float(observed.mean()), float(low), float(high), _two_sided(gaps))


def _resample(n: int, draws: int, rng: np.random.Generator) -> _Counts:
    """How often each of n things comes when n are drawn with replacement."""
    drawn = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def _two_sided(drawn: Vector) -> float:
    """Twice the share of draws on the rarer side of 0, 0 being on both; one draw is added, so that p is never 0."""
    if np.isnan(drawn).any():
        return math.nan
    tie = ROUNDING * np.abs(drawn).max()
    rarer = min(int((drawn <= tie).sum()), int((drawn >= -tie).sum()))
    return min(1.0, 2 * with_observed(rarer, len(drawn)))
