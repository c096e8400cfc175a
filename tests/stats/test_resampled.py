"""The scores of resampled data are the metric of that data, ties and constants included."""

from functools import partial

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from hype_bench.config import METRICS
from hype_bench.stats.resampled import WEIGHTED, weighted_scores
from hype_bench.tasks.metrics import score

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)


def answers(metric, examples, rng):
    """Labels and the predictions of three runs, the last of which collapsed but for one answer."""
    if metric in ("pearson", "spearman", "pearson_spearman"):
        labels = rng.integers(0, 26, examples) / 5
        predictions = np.stack(
            [labels + rng.normal(size=examples), rng.normal(size=examples).round(), np.ones(examples)]
        )
    else:
        classes = 3 if metric in ("accuracy", "macro_f1", "matthews") else 2
        labels, predictions = rng.integers(0, classes, examples), rng.integers(0, classes, (3, examples))
        predictions[2] = 1
    predictions[2, 0] += -1
    return labels.astype(float), predictions.astype(float)


def test_every_metric_can_be_resampled():
    assert set(WEIGHTED) == set(METRICS)


@pytest.mark.parametrize("metric", WEIGHTED)
@pytest.mark.parametrize("examples", [3, 12, 60])
def test_weighted_scores_are_the_metric_of_the_resampled_data(metric, examples):
    rng = np.random.default_rng(examples)
    labels, predictions = answers(metric, examples, rng)
    drawn = rng.integers(examples, size=(8, examples))
    drawn[0] = examples - 1  # a resample in which nothing varies
    counts = np.stack([np.bincount(draw, minlength=examples) for draw in drawn]).astype(float)
    expected = [[score(metric, labels[draw], run[draw])[metric] for run in predictions] for draw in drawn]
    result = weighted_scores(metric, labels, predictions, counts)
    assert result == tight(np.array(expected), nan_ok=True)


def test_a_perfect_correlation_is_one_in_spite_of_rounding():
    values = np.array([0.0, 0.2, 0.7])
    both = weighted_scores("pearson", values, np.stack([values, -values]), np.ones((1, 3)))
    assert both.tolist() == [[1, -1]]


def test_a_draw_of_equals_has_no_correlation_in_spite_of_rounding():
    constant_in_draw = np.array([[0.1, 0.2, 0.2, 0.2]])
    assert np.isnan(weighted_scores("pearson", np.arange(4.0), constant_in_draw, np.array([[0.0, 1, 1, 1]]))).all()


def test_a_prediction_far_from_zero_keeps_its_correlation():
    labels = np.arange(10.0)
    near_constant = 1e6 + 1e-4 * np.random.default_rng(0).normal(size=10)
    expected = score("pearson_spearman", labels, near_constant)["pearson_spearman"]
    result = weighted_scores("pearson_spearman", labels, near_constant[None], np.ones((1, 10)))
    assert result == pytest.approx(expected, abs=1e-9)


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError, match="predictions"):
        weighted_scores("accuracy", np.zeros(3), np.zeros((2, 4)), np.ones((1, 3)))
