"""Permutation tests of a difference between two methods: over seeds by flipping signs, over examples by swapping
predictions.

``scipy.stats.permutation_test`` tests the same over seeds, but counts a tie that float64 has split as none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hype_bench.stats.draws import DRAWS, ROUNDING, batches, with_observed
from hype_bench.stats.means import finite
from hype_bench.stats.resampled import checked_predictions, score_gap, weighted_scores

EXACT_UP_TO = 16  # seeds: 2^16 sign patterns take about a millisecond


def permutation_p(differences: ArrayLike, seed: int = 0, draws: int = DRAWS) -> float:
    """Two-sided sign-flip test of paired differences (1-d, one per seed) against a distribution symmetric about 0.

    The share of sign patterns whose mean is at least as far from 0 as the one observed. Exact over all 2^n patterns
    up to ``EXACT_UP_TO`` seeds; above, over ``draws`` random ones and the observed one, (1 + hits) / (1 + draws)
    (Phipson and Smyth 2010). No p is below ``least_p(n)``: three seeds never get below 0.25. NaN for n = 0.

    Fisher 1935, "The Design of Experiments", section 21; Dror et al. 2018 (ACL, P18-1128), section 3.2.
    """
    values = finite(differences)
    if not len(values):
        return math.nan
    limit = abs(values.sum()) - ROUNDING * np.abs(values).max()
    if len(values) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= limit).mean())
    signs = 2 * np.random.default_rng(seed).integers(2, size=(draws, len(values))) - 1
    return with_observed(int((np.abs(signs @ values) >= limit).sum()), draws)


def least_p(n: int, draws: int = DRAWS) -> float:
    """The least p that ``permutation_p`` can give for n seeds: 2 / 2^n, from 1 (n = 1) over 0.25 (n = 3) on.

    n = 6 is the first with which 0.05 can be undercut. Above ``EXACT_UP_TO`` it is 1 / (1 + draws); NaN for n = 0.
    """
    if n < 1:
        return math.nan
    return 2.0 ** (1 - n) if n <= EXACT_UP_TO else with_observed(0, draws)


def permutation_examples(
    metric: str,
    labels: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
) -> float:
    """Two-sided p of the difference in mean score if it made no difference which of a and b answered an example.

    Approximate randomisation: in every draw each example's predictions, of all seeds together, go to the other side
    with probability 1/2; (1 + hits) / (1 + draws). Arguments, NaN and errors as in ``bootstrap_examples``.

    Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; Yeh 2000, arXiv:cs/0008005.
    """
    labels, both = checked_predictions(metric, labels, predictions_a, predictions_b)
    observed = score_gap(weighted_scores(metric, labels, both, np.ones((1, len(labels)))))
    examples, labels_twice = len(labels), np.tile(labels, 2)
    pool = np.concatenate(np.split(both, 2), axis=1)  # [seeds, a's examples and then b's]
    rng = np.random.default_rng(seed)
    gaps = []
    for rows in batches(draws, 2 * examples):
        kept = rng.integers(2, size=(rows, examples)).astype(np.float64)
        sides = (np.concatenate(halves, axis=1) for halves in ((kept, 1 - kept), (1 - kept, kept)))
        scores = [weighted_scores(metric, labels_twice, pool, counts) for counts in sides]
        gaps.append(score_gap(np.concatenate(scores, axis=1)))
    sizes = np.abs(np.concatenate([observed, *gaps]))
    if np.isnan(sizes).any():
        return math.nan
    return float((sizes >= sizes[0] - ROUNDING * sizes.max()).mean())
