"""The scores of GLUE, computed by scikit-learn and scipy (HyPe paper, Table 10; GLUE, Wang et al. 2018).

Every function takes labels and predictions of one split (1-d, data order) and returns named scores in their own
units (fractions and correlations, not percent). A correlation with a constant is NaN and stays NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hype_bench.stats.resampled import TWO_CLASS_METRICS as TWO_CLASS_METRICS

Scores = dict[str, float]


def accuracy(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> Scores:
    from sklearn.metrics import accuracy_score

    return {"accuracy": float(accuracy_score(labels, predictions))}


def accuracy_and_f1(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> Scores:
    """Accuracy, F1 of the positive class 1 (0 if nothing is predicted positive), and their mean."""
    from sklearn.metrics import f1_score

    scores = accuracy(labels, predictions)
    scores["f1"] = float(f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0.0))
    scores["accuracy_f1"] = (scores["accuracy"] + scores["f1"]) / 2
    return scores


def macro_f1(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> Scores:
    """The mean of every class's F1, whatever its size; classes without a label or a prediction do not count."""
    from sklearn.metrics import f1_score

    value = f1_score(labels, predictions, average="macro", zero_division=0.0)
    return {"macro_f1": float(value), **accuracy(labels, predictions)}


def matthews(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> Scores:
    """Matthews correlation; 0 for constant predictions (a collapsed run), as in GLUE."""
    from sklearn.metrics import matthews_corrcoef

    constant = len(np.unique(labels)) < 2 or len(np.unique(predictions)) < 2  # scikit-learn warns where both are
    value = 0.0 if constant else float(matthews_corrcoef(labels, predictions))
    return {"matthews": value, **accuracy(labels, predictions)}


def correlations(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> Scores:
    """Pearson, Spearman and their mean; NaN if either side is constant. Predictions are not clipped."""
    from scipy.stats import NearConstantInputWarning, pearsonr, spearmanr

    if len(labels) < 2 or np.ptp(labels) == 0 or np.ptp(predictions) == 0 or not np.isfinite(predictions).all():
        return dict.fromkeys(("pearson", "spearman", "pearson_spearman"), float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NearConstantInputWarning)  # a nearly collapsed run is not the user's fault
        pearson = float(pearsonr(predictions, labels).statistic)
    spearman = float(spearmanr(predictions, labels).statistic)
    return {"pearson": pearson, "spearman": spearman, "pearson_spearman": (pearson + spearman) / 2}


_BY_METRIC: dict[str, Callable[..., Scores]] = {
    "accuracy": accuracy,
    "f1": accuracy_and_f1,
    "accuracy_f1": accuracy_and_f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": correlations,
    "spearman": correlations,
    "pearson_spearman": correlations,
}


def positive_class(metric: str, labels: Sequence[str]) -> str | None:
    """The name of the class whose F1 a metric takes, if it takes that of one."""
    return labels[1] if metric in TWO_CLASS_METRICS else None


def score(metric: str, labels: ArrayLike, predictions: ArrayLike) -> Scores:
    """All scores that go with a headline metric; ``metric`` itself is among the keys."""
    return _BY_METRIC[metric](np.asarray(labels), np.asarray(predictions))
