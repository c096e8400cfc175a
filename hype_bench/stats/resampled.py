"""The scores of resampled data, thousands of resamples at once: a resample is how often it has each example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Floats

Labels = Float64[Floats, "examples"]
Predictions = Float64[Floats, "seeds examples"]
Counts = Float64[Floats, "draws examples"]  # how often a draw has an example
Scores = Float64[Floats, "draws seeds"]
BothPredictions = Float64[Floats, "both_seeds examples"]  # of a and then of b
BothScores = Float64[Floats, "draws both_seeds"]
OfDraws = Float64[Floats, "draws"]
_Conditions = Bool[np.ndarray[tuple[Any, ...], np.dtype[np.bool_]], "runs examples"]
_Totals = Float64[Floats, "draws runs"]
_Sizes = Float64[Floats, "draws 1"]
_Values = Float64[Floats, "... examples"]  # the same in every draw, or each draw's own


def weighted_scores(metric: str, labels: Labels, predictions: Predictions, counts: Counts) -> Scores:
    """``tasks.metrics.score(metric, ...)[metric]`` of data in which example i stands ``counts[draw, i]`` times.

    Counts are whole numbers, a positive one in every draw. Exact, ties included: no data is copied, and nothing is
    sorted again for a Spearman correlation. F1 needs the classes 0 and 1. KeyError for a metric not in ``WEIGHTED``.
    """
    scores: Scores = np.mean([part(labels, predictions, counts) for part in WEIGHTED[metric]], axis=0)
    return scores


def checked_predictions(metric: str, labels: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Labels, BothPredictions]:
    """The labels, and the predictions of a and then those of b. ValueError if their shapes or values do not fit."""
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


def seed_gaps(scores: BothScores) -> Scores:
    """The scores of a minus those of b, seed by seed."""
    a, b = np.split(scores, 2, axis=1)
    return np.asarray(a - b)


def _sizes(counts: Counts) -> _Sizes:
    """How many examples a draw has."""
    sizes: _Sizes = counts.sum(axis=1, keepdims=True)
    return sizes


def _total(counts: Counts, condition: _Conditions) -> _Totals:
    """For how many examples of a draw ``condition`` holds."""
    return counts @ condition.T.astype(np.float64)


def _accuracy(labels: Labels, predictions: Predictions, counts: Counts) -> Scores:
    return _total(counts, predictions == labels) / _sizes(counts)


def _f1(labels: Labels, predictions: Predictions, counts: Counts, label: float = 1.0) -> Scores:
    """2 TP / (2 TP + FP + FN) of one class; 0 if there is neither a label nor a prediction of it."""
    true_positives = _total(counts, (predictions == label) & (labels == label))
    occurrences = _occurrences(labels, predictions, counts, label)
    return np.divide(2 * true_positives, occurrences, out=np.zeros_like(occurrences), where=occurrences > 0)


def _occurrences(labels: Labels, predictions: Predictions, counts: Counts, label: float) -> Scores:
    """How many labels and predictions of a class there are."""
    return _total(counts, predictions == label) + _total(counts, labels[None] == label)


def _macro_f1(labels: Labels, predictions: Predictions, counts: Counts) -> Scores:
    """The mean of the classes' F1 over those that a draw has among its labels or predictions."""
    classes = np.union1d(labels, predictions)
    total = np.sum([_f1(labels, predictions, counts, label) for label in classes], axis=0)
    present: Floats = np.sum([_occurrences(labels, predictions, counts, label) > 0 for label in classes], axis=0)
    return np.asarray(total / present)


def _matthews(labels: Labels, predictions: Predictions, counts: Counts) -> Scores:
    """For any number of classes (R_K of Gorodkin 2004); 0 if labels or predictions are constant."""
    n = _sizes(counts)
    covariance, var_labels, var_predictions = n * _total(counts, predictions == labels), n**2, n**2
    for label in np.union1d(labels, predictions):
        true, predicted = _total(counts, labels[None] == label), _total(counts, predictions == label)
        covariance = covariance - true * predicted
        var_labels, var_predictions = var_labels - true**2, var_predictions - predicted**2
    scale: Floats = np.sqrt(var_labels) * np.sqrt(var_predictions)
    return np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)


def _pearson(labels: Labels, predictions: Predictions, counts: Counts) -> Scores:
    return np.stack([_correlation(labels, run, counts) for run in predictions], axis=1)


def _spearman(labels: Labels, predictions: Predictions, counts: Counts) -> Scores:
    ranks = mid_ranks(labels, counts)
    return np.stack([_correlation(ranks, mid_ranks(run, counts), counts) for run in predictions], axis=1)


def mid_ranks(values: Labels, counts: Counts) -> Counts:
    """As many as lie below in a draw, and half of the equals: the mean rank of ties, less 1/2."""
    distinct, place = np.unique(values, return_inverse=True)
    first = np.searchsorted(np.sort(place), np.arange(len(distinct)))
    equal = np.add.reduceat(counts[:, np.argsort(place)], first, axis=1)
    return (np.cumsum(equal, axis=1) - equal / 2)[:, place]


def _correlation(x: _Values, y: _Values, counts: Counts) -> OfDraws:
    """Of every draw; NaN where a side is constant."""
    x, y = _centred(x, counts), _centred(y, counts)
    xy, xx, yy = (np.einsum("de,de,de->d", counts, *pair) for pair in ((x, y), (x, x), (y, y)))
    scale: Floats = np.sqrt(xx) * np.sqrt(yy)
    correlation: Floats = np.divide(xy, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return correlation.clip(-1, 1)


def _centred(values: _Values, counts: Counts) -> Counts:
    """Minus the draw's mean. First minus one of its own values: a constant becomes exactly 0."""
    drawn = np.argmax(counts > 0, axis=1)[:, None]
    shifted: Floats = values - np.take_along_axis(np.broadcast_to(values, counts.shape), drawn, axis=1)
    means: Floats = np.einsum("de,de->d", counts, shifted)[:, None] / _sizes(counts)
    return shifted - means


WEIGHTED: dict[str, tuple[Callable[[Labels, Predictions, Counts], Scores], ...]] = {
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
