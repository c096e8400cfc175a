"""Calibration against scores written out, scikit-learn's, and a grid of temperatures."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from hype_bench.stats.calibration import (
    brier_score,
    calibration,
    expected_calibration_error,
    fitted_temperature,
    log_softmax,
)


def predictions(seed=0, examples=400, classes=3):
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(examples, classes))
    probabilities = np.exp(log_softmax(logits))
    labels = np.array([generator.choice(classes, p=row) for row in probabilities])
    return logits, labels


def test_the_error_is_the_mean_gap_of_the_bins():
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.4, 0.6], [0.35, 0.65]])
    labels = np.array([0, 1, 0, 1])
    # 10 bins: two right at .95; one of two right at .6 and .65, which stand in (.5, .6] and (.6, .7]
    expected = 2 / 4 * 0.05 + 1 / 4 * 0.6 + 1 / 4 * 0.35
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(expected, abs=1e-12)


def test_sure_and_right_is_perfect_and_sure_and_wrong_is_worst():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(sure, np.array([0, 1])) == 0
    assert brier_score(sure, np.array([0, 1])) == 0
    assert expected_calibration_error(sure, np.array([1, 0])) == 1
    assert brier_score(sure, np.array([1, 0])) == 2


def test_scores_are_those_of_their_definitions():
    logits, labels = predictions()
    probabilities = np.exp(log_softmax(logits))
    of = calibration(logits, labels)
    assert of.nll == pytest.approx(log_loss(labels, probabilities), abs=1e-12)
    one_by_one = [
        sum((p[c] - (c == label)) ** 2 for c in range(3)) for p, label in zip(probabilities, labels, strict=True)
    ]
    assert of.brier == pytest.approx(np.mean(one_by_one), abs=1e-12)
    assert of.ece < 0.06  # the labels were drawn from these probabilities


def test_the_temperature_undoes_a_scale_of_the_logits():
    logits, labels = predictions(examples=2000)
    temperature = fitted_temperature(logits, labels)
    assert temperature == pytest.approx(1, abs=0.1)
    assert fitted_temperature(3 * logits, labels) == pytest.approx(3 * temperature, rel=1e-4)
    grid = np.geomspace(0.3, 3, 200)
    best = grid[np.argmin([calibration(logits, labels, t).nll for t in grid])]
    assert temperature == pytest.approx(best, rel=0.02)


def test_a_run_that_is_always_right_has_the_lowest_temperature():
    assert fitted_temperature(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1])) == pytest.approx(0.01, rel=0.01)


def test_large_logits_do_not_overflow():
    assert np.isfinite(calibration(np.array([[1e5, 0.0], [0.0, 1e5]]), np.array([0, 0]))).all()
