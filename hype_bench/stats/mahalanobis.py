"""Distances to the training examples of each class, as Gaussians with one covariance see them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Floats

Features = Float64[Floats, "examples width"]
Labels = Int64[np.ndarray, "examples"]
Distances = Float64[Floats, "examples"]
Means = Float64[Floats, "classes width"]
Precision = Float64[Floats, "width width"]


class Gaussians(NamedTuple):
    """One for each class, with a common covariance, whose (pseudo-)inverse ``precision`` is."""

    means: Means
    precision: Precision


def fit_gaussians(features: Features, labels: Labels) -> Gaussians:
    """Means of the classes, and the covariance of the distances to them, with n in the denominator.

    Lee, Lee, Lee and Shin 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks", NeurIPS, https://arxiv.org/abs/1807.03888
    """
    classes, place = np.unique(labels, return_inverse=True)
    means = np.stack([features[place == number].mean(axis=0) for number in range(len(classes))])
    centred = features - means[place]
    return Gaussians(means, np.linalg.pinv(centred.T @ centred / len(features), hermitian=True))


def squared_distances(gaussians: Gaussians, features: Features) -> Distances:
    """The squared Mahalanobis distance to the nearest class."""
    of_classes = [
        np.einsum("nd,de,ne->n", centred, gaussians.precision, centred, optimize=True)
        for centred in (features - mean for mean in gaussians.means)
    ]
    nearest: Distances = np.min(of_classes, axis=0)
    return nearest


def detection(inside: ArrayLike, outside: ArrayLike) -> dict[str, float]:
    """How well distances tell examples from outside of the data from those inside.

    Returns:
        ``auroc``: the chance that one from outside is further away, 0.5 for a guess; ``fpr95``: the share of the
        inside that counts as outside where 95 % of the outside is found, lower is better.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    is_outside = np.repeat([0, 1], [np.size(inside), np.size(outside)])
    both = np.concatenate([inside, outside])
    false, true, _ = roc_curve(is_outside, both)
    return {"auroc": float(roc_auc_score(is_outside, both)), "fpr95": float(false[np.argmax(true >= 0.95)])}
