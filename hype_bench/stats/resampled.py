"""The scores of resampled data, thousands of resamples at once: a resample is how often it has each example.

Shapes: labels [examples], predictions [seeds, examples], counts [draws, examples], scores [draws, seeds].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hype_bench.stats.means import Floats


def weighted_scores(metric: str, labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """``tasks.metrics.score(metric, ...)[metric]`` of data in which example i stands ``counts[draw, i]`` times.

    labels [examples], predictions [seeds, examples], counts [draws, examples], whole numbers, a positive one in every
    draw -> [draws, seeds]. Exact, ties included: no data is copied, and nothing is sorted again for a Spearman
    correlation. F1 needs the classes 0 and 1. KeyError for a metric not in ``WEIGHTED``.
    """
    scores: Floats = np.mean([part(labels, predictions, counts) for part in WEIGHTED[metric]], axis=0)
    return scores


def checked_predictions(metric: str, labels: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """labels [examples], and the predictions of a and then b [2 x seeds, examples]. ValueError if they do not fit."""
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


def score_gap(scores: Floats) -> Floats:
    """[draws, seeds of a and then of b] -> [draws]: the mean over the seeds of a minus that of b."""
    a, b = np.split(scores, 2, axis=1)
    gap: Floats = (a - b).mean(axis=1)
    return gap


def _sizes(counts: Floats) -> Floats:
    """[draws, 1]: how many examples a draw has."""
    sizes: Floats = counts.sum(axis=1, keepdims=True)
    return sizes


def _total(counts: Floats, condition: NDArray[np.bool_]) -> Floats:
    """[draws, seeds]: for how many examples of a draw ``condition`` [seeds, examples] holds."""
    return counts @ condition.T.astype(np.float64)


def _accuracy(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    return _total(counts, predictions == labels) / _sizes(counts)


def _f1(labels: Floats, predictions: Floats, counts: Floats, label: float = 1.0) -> Floats:
    """2 TP / (2 TP + FP + FN) of one class; 0 if there is neither a label nor a prediction of it."""
    true_positives = _total(counts, (predictions == label) & (labels == label))
    occurrences = _occurrences(labels, predictions, counts, label)
    return np.divide(2 * true_positives, occurrences, out=np.zeros_like(occurrences), where=occurrences > 0)


def _occurrences(labels: Floats, predictions: Floats, counts: Floats, label: float) -> Floats:
    """[draws, seeds]: how many labels and predictions of a class there are."""
    return _total(counts, predictions == label) + _total(counts, labels[None] == label)


def _macro_f1(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """The mean of the classes' F1 over those that a draw has among its labels or predictions."""
    classes = np.union1d(labels, predictions)
    total = np.sum([_f1(labels, predictions, counts, label) for label in classes], axis=0)
    present: Floats = np.sum([_occurrences(labels, predictions, counts, label) > 0 for label in classes], axis=0)
    return np.asarray(total / present)


def _matthews(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    """For any number of classes (R_K of Gorodkin 2004); 0 if labels or predictions are constant."""
    n = _sizes(counts)
    covariance, var_labels, var_predictions = n * _total(counts, predictions == labels), n**2, n**2
    for label in np.union1d(labels, predictions):
        true, predicted = _total(counts, labels[None] == label), _total(counts, predictions == label)
        covariance = covariance - true * predicted
        var_labels, var_predictions = var_labels - true**2, var_predictions - predicted**2
    scale: Floats = np.sqrt(var_labels) * np.sqrt(var_predictions)
    return np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)


def _pearson(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    return np.stack([_correlation(labels, run, counts) for run in predictions], axis=1)


def _spearman(labels: Floats, predictions: Floats, counts: Floats) -> Floats:
    ranks = _ranks(labels, counts)
    return np.stack([_correlation(ranks, _ranks(run, counts), counts) for run in predictions], axis=1)


def _ranks(values: Floats, counts: Floats) -> Floats:
    """[draws, examples]: as many as lie below in a draw, and half of the equals: the mean rank of ties, less 1/2."""
    distinct, place = np.unique(values, return_inverse=True)
    first = np.searchsorted(np.sort(place), np.arange(len(distinct)))
    equal = np.add.reduceat(counts[:, np.argsort(place)], first, axis=1)
    return (np.cumsum(equal, axis=1) - equal / 2)[:, place]


def _correlation(x: Floats, y: Floats, counts: Floats) -> Floats:
    """[draws], of values [examples] or [draws, examples]; NaN where a side is constant."""
    x, y = _centred(x, counts), _centred(y, counts)
    xy, xx, yy = (np.einsum("de,de,de->d", counts, *pair) for pair in ((x, y), (x, x), (y, y)))
    scale: Floats = np.sqrt(xx) * np.sqrt(yy)
    correlation: Floats = np.divide(xy, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return correlation.clip(-1, 1)


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
