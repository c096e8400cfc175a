"""What examples contribute to a score: the jackknife by a loop, and its limit."""

import numpy as np
import pytest

from hype_bench.stats.influence import example_values
from hype_bench.stats.resampled import WEIGHTED
from hype_bench.tasks.metrics import score
from tests.stats.runs import run

CORRELATIONS = ("pearson", "spearman", "pearson_spearman")


def jackknife(metric, labels, predictions):
    """Every example left out once."""
    whole = score(metric, labels, predictions)[metric]
    without = [score(metric, np.delete(labels, i), np.delete(predictions, i))[metric] for i in range(len(labels))]
    return whole - (len(labels) - 1) * (np.array(without) - np.mean(without))


@pytest.mark.parametrize("metric", WEIGHTED)
def test_the_mean_over_examples_is_the_score(metric):
    labels, a, _ = run(metric, seeds=3, skill=0.2)
    values = example_values(metric, labels.astype(float), a.astype(float))
    assert values.mean(axis=1) == pytest.approx([score(metric, labels, one)[metric] for one in a], abs=1e-12)


@pytest.mark.parametrize("metric", [metric for metric in WEIGHTED if metric not in CORRELATIONS])
def test_scores_of_classes_are_the_jackknifes_loop(metric):
    labels, (a,), _ = run(metric, seeds=1, skill=0.1)
    values = example_values(metric, labels.astype(float), a[None].astype(float))[0]
    assert values == pytest.approx(jackknife(metric, labels, a), abs=1e-10)
    if metric == "accuracy":
        assert values == pytest.approx((labels == a).astype(float), abs=1e-12)


@pytest.mark.parametrize("metric", CORRELATIONS)
def test_correlations_come_close_to_the_jackknife_with_many_examples(metric):
    """Ties among labels and predictions included: the distance falls as 1 / n, the values do not."""
    distances = []
    for n in (100, 400):
        labels, (a,), _ = run(metric, seeds=1, examples=n, skill=1.5)
        a = a.round(1)
        values = example_values(metric, labels, a[None])[0]
        expected = jackknife(metric, labels, a)
        distances.append(np.abs(values - expected).mean() / expected.std())
    assert distances[0] < 0.05
    assert distances[1] < distances[0] / 2.5


def test_a_constant_has_no_correlation_and_no_influence():
    labels, a, _ = run("pearson")
    a[1] = 2.5
    values = example_values("pearson_spearman", labels, a)
    assert np.isnan(values).any(axis=1).tolist() == [False, True]
