"""Whether the probabilities that a classifier gives are those with which it is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from hype_bench.stats.means import Floats

Logits = Float64[Floats, "examples classes"]
Probabilities = Float64[Floats, "examples classes"]
Labels = Int64[np.ndarray, "examples"]

BINS = 15  # as Guo et al. have it
_TEMPERATURES = (0.01, 100.0)  # within which one is sought: of a run that is always right, none is the best


class Calibration(NamedTuple):
    """Lower is better. ``ece``: expected calibration error; ``brier``: from 0 to 2; ``nll``: in nats per example."""

    ece: float
    brier: float
    nll: float


def calibration(logits: Logits, labels: Labels, temperature: float = 1.0, bins: int = BINS) -> Calibration:
    """How well the softmax of the logits, divided by a temperature, is calibrated."""
    log_probabilities = log_softmax(logits / temperature)
    probabilities = np.exp(log_probabilities)
    chosen = np.arange(len(labels)), labels
    return Calibration(
        expected_calibration_error(probabilities, labels, bins),
        brier_score(probabilities, labels),
        float(-log_probabilities[chosen].mean()),
    )


def expected_calibration_error(probabilities: Probabilities, labels: Labels, bins: int = BINS) -> float:
    """The mean distance between confidence and accuracy, over bins of equal width, each with its share of the examples.

    The confidence is the largest probability; a bin holds its upper end. Guo et al. 2017, "On Calibration of Modern
    Neural Networks", ICML, https://arxiv.org/abs/1706.04599
    """
    confidence = probabilities.max(axis=1)
    is_right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=is_right - confidence, minlength=bins)  # of a bin: its size times its gap
    return float(np.abs(gaps).sum() / len(labels))


def brier_score(probabilities: Probabilities, labels: Labels) -> float:
    """The mean over examples of the squared distance to the label, summed over all classes: 0 to 2.

    Brier 1950, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78.
    """
    target = np.zeros_like(probabilities)
    target[np.arange(len(labels)), labels] = 1
    return float(((probabilities - target) ** 2).sum(axis=1).mean())


def fitted_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature, between 0.01 and 100, of the lowest negative log-likelihood (Guo et al. 2017, section 4.2).

    The likelihood is concave in the inverse of the temperature, so that there is one optimum. Fit it on examples that
    were not trained on and are not reported.
    """
    from scipy.optimize import minimize_scalar

    low, high = (1 / temperature for temperature in reversed(_TEMPERATURES))
    nll = lambda inverse: calibration(logits, labels, 1 / inverse).nll  # noqa: E731
    best = minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    return float(1 / best.x)


def log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
