"""A score as a mean over examples, so that what holds for means of per-example scores holds for F1 and correlations."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from hype_bench.stats.means import Floats
from hype_bench.stats.resampled import WEIGHTED, Labels, Predictions, mid_ranks, weighted_scores

Values = Float64[Floats, "seeds examples"]
_OfRun = Float64[Floats, "examples"]


def example_values(metric: str, labels: Labels, predictions: Predictions) -> Values:
    """What every example contributes to the score of every run: the mean of a row is the score of that run.

    Accuracy: 1 where the prediction is right and 0 elsewhere. Other scores of classes: jackknife pseudo-values (the
    score less n - 1 times what it loses without the example, centred on the score). Correlations: the score plus the
    example's influence, the limit of that for many examples. NaN where a run has no score. KeyError for a metric not
    in ``WEIGHTED``.

    Args:
        labels, predictions: as ``checked_predictions`` returns them; at least two examples.

    Efron and Stein 1981, "The Jackknife Estimate of Variance", Annals of Statistics 9; Croux and Dehon 2010,
    "Influence Functions of the Spearman and Kendall Correlation Measures".
    """
    parts = [_INFLUENCE.get(name) for name in metric.split("_")]
    if metric in WEIGHTED and all(parts):
        return np.stack([np.mean([part(labels, run) for part in parts if part], axis=0) for run in predictions])
    return np.stack([_jackknife(metric, labels, run) for run in predictions])


def _jackknife(metric: str, labels: Labels, run: _OfRun) -> _OfRun:
    """Examples of the same label and prediction contribute the same, so one of each kind is left out."""
    n = len(labels)
    _, first, kind = np.unique(labels + 1j * run, return_index=True, return_inverse=True)
    counts = np.ones((1 + len(first), n))  # all, and then all but one of each kind
    counts[1 + np.arange(len(first)), first] = 0
    score, *without = weighted_scores(metric, labels, run[None], counts)[:, 0]
    losses = np.asarray(without)[kind]
    values: _OfRun = score - (n - 1) * (losses - losses.mean())
    return values


def _pearson(labels: _OfRun, run: _OfRun) -> _OfRun:
    return _influence(labels - labels.mean(), run - run.mean())


def _spearman(labels: _OfRun, run: _OfRun) -> _OfRun:
    """Pearson's of the ranks, and how one more example moves the ranks of the others."""
    u, v = (_ranks_below(values, np.ones_like(values)) - 0.5 for values in (labels, run))
    moved = [-_ranks_below(values, weights) for values, weights in ((labels, v), (run, u), (labels, u), (run, v))]
    return _influence(u, v, moved[0] + moved[1], 2 * moved[2], 2 * moved[3])


def _ranks_below(values: _OfRun, weights: _OfRun) -> _OfRun:
    """For each example the mean over all of ``weights`` where they lie below it, half of the equals included."""
    ranks: _OfRun = mid_ranks(values, weights[None])[0] / len(values)
    return ranks


def _influence(
    x: _OfRun, y: _OfRun, more_xy: _OfRun | float = 0.0, more_xx: _OfRun | float = 0.0, more_yy: _OfRun | float = 0.0
) -> _OfRun:
    """The correlation of centred values and each example's influence on it; ``more``: beyond its own products."""
    products = (x * y, x * x, y * y)
    xy, xx, yy = means = [product.mean() for product in products]
    if not xx * yy > 0:
        return np.full_like(x, np.nan)
    changes = [
        product + more - mean - np.mean(more)
        for product, more, mean in zip(products, (more_xy, more_xx, more_yy), means, strict=True)
    ]
    correlation = xy / np.sqrt(xx * yy)
    values: _OfRun = correlation + changes[0] / np.sqrt(xx * yy) - correlation / 2 * (changes[1] / xx + changes[2] / yy)
    return values


_INFLUENCE = {"pearson": _pearson, "spearman": _spearman}
