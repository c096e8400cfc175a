"""Scores equal the published numbers and naive loops; a constant gives NaN, never a number and never a warning."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from hype_bench.config import METRICS, REGRESSION_METRICS
from hype_bench.tasks.evaluate_metric import TaskMetric
from hype_bench.tasks.metrics import score

tight = partial(pytest.approx, rel=0, abs=1e-10)
CORRELATIONS = ("pearson", "spearman", "pearson_spearman")


def counts(labels, predictions):
    """tp, fp, fn, tn of class 1, one pair at a time."""
    table = {(a, b): 0 for a in (0, 1) for b in (0, 1)}
    for label, prediction in zip(labels, predictions, strict=True):
        table[int(label), int(prediction)] += 1
    return table[1, 1], table[0, 1], table[1, 0], table[0, 0]


def naive_accuracy(labels, predictions):
    hits = sum(int(a) == int(b) for a, b in zip(labels, predictions, strict=True))
    return float(Fraction(hits, len(labels)))


def naive_f1(labels, predictions):
    tp, fp, fn, _ = counts(labels, predictions)
    return float(Fraction(2 * tp, 2 * tp + fp + fn)) if tp + fp + fn else 0.0


def naive_matthews(labels, predictions):
    tp, fp, fn, tn = counts(labels, predictions)
    scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(scale) if scale else 0.0


def naive_pearson(x, y):
    n = len(x)
    mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / math.sqrt(math.fsum((a - mean_x) ** 2 for a in x) * math.fsum((b - mean_y) ** 2 for b in y))


def ranks(values):
    """The mean place of each value among all: ties share one."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def naive_spearman(x, y):
    return naive_pearson(ranks(x), ranks(y))


@pytest.fixture(scope="module")
def published(parity):
    return parity("glue_metrics")


def test_classification_equals_the_published_numbers(published):
    labels, predictions = published["labels"], published["predictions"]
    both = score("f1", labels, predictions)
    assert both == tight(
        {
            "accuracy": published["mrpc_qqp"]["accuracy"],
            "f1": published["mrpc_qqp"]["f1"],
            "accuracy_f1": published["mrpc_qqp"]["combined_score_mean_of_both"],
        },
    )
    assert score("accuracy_f1", labels, predictions) == both
    assert score("accuracy", labels, predictions) == tight({"accuracy": published["accuracy"]})
    assert score("matthews", labels, predictions)["matthews"] == tight(published["cola_mcc"])


@pytest.mark.parametrize("metric", REGRESSION_METRICS)
def test_correlations_equal_the_published_numbers(published, metric):
    stsb = published["stsb"]
    expected = {"pearson": stsb["pearson"], "spearman": stsb["spearmanr"], "pearson_spearman": stsb["combined"]}
    assert score(metric, stsb["labels"], stsb["predictions"]) == tight(expected)


def test_degenerate_classification_equals_the_published_numbers(published):
    labels, degenerate = published["labels"], published["degenerate"]
    ones, zeros = [1] * len(labels), [0] * len(labels)
    assert score("matthews", labels, ones)["matthews"] == degenerate["cola_all_one_predictions_mcc"]
    assert score("f1", labels, zeros)["f1"] == degenerate["mrpc_all_zero_predictions_f1"]
    assert score("f1", labels, ones)["f1"] == tight(degenerate["mrpc_all_one_f1"])
    majority = published["mrpc_dev_majority"]
    labels = [1] * majority["n_positive"] + [0] * (majority["n"] - majority["n_positive"])
    scores = score("f1", labels, [1] * majority["n"])
    assert scores["f1"] == tight(majority["all_one_f1"])
    assert scores["accuracy"] == tight(majority["all_one_accuracy"])
    assert score("f1", [0, 0, 0], [0, 0, 0]) == {"accuracy": 1.0, "f1": 0.0, "accuracy_f1": 0.5}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_classification_equals_naive_loops(seed, size):
    rng = np.random.default_rng([seed, size])
    labels = rng.integers(0, 2, size)
    predictions = np.where(rng.random(size) < 0.7, labels, 1 - labels)
    both = score("f1", labels, predictions)
    assert both["accuracy"] == tight(naive_accuracy(labels, predictions))
    assert both["f1"] == tight(naive_f1(labels, predictions))
    assert both["accuracy_f1"] == tight((both["accuracy"] + both["f1"]) / 2)
    assert score("matthews", labels, predictions)["matthews"] == tight(naive_matthews(labels, predictions))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_correlations_equal_naive_loops_with_and_without_ties(seed, decimals):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0, 5, 120).round(decimals)
    predictions = (labels + rng.normal(0, 1.5, 120)).round(decimals)  # beyond 0 and 5 too: they are not clipped
    scores = score("pearson_spearman", labels, predictions)
    assert scores["pearson"] == tight(naive_pearson(labels, predictions))
    assert scores["spearman"] == tight(naive_spearman(labels, predictions))
    assert scores["pearson_spearman"] == tight((scores["pearson"] + scores["spearman"]) / 2)


CONSTANT = {
    "predictions": ([1.0, 2.0, 3.0], [2.5, 2.5, 2.5]),
    "labels": ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]),
    "one example": ([2.0], [1.0]),
    "no example": ([], []),
    "nan among the predictions": ([1.0, 2.0, 3.0], [1.0, math.nan, 3.0]),
    "infinity among the predictions": ([1.0, 2.0, 3.0], [1.0, math.inf, 3.0]),
}


@pytest.mark.parametrize("case", CONSTANT.values(), ids=CONSTANT.keys())
@pytest.mark.parametrize("metric", REGRESSION_METRICS)
def test_a_correlation_that_does_not_exist_is_nan_without_a_warning(metric, case):
    scores = score(metric, *case)
    assert set(scores) == set(CORRELATIONS)
    assert all(math.isnan(value) for value in scores.values())


def test_predictions_that_are_all_but_constant_raise_no_warning():
    labels = np.linspace(0, 5, 50)
    predictions = 1000 + 1e-12 * labels
    scores = score("pearson_spearman", labels, predictions)
    assert set(scores) == set(CORRELATIONS)


@pytest.mark.parametrize("metric", METRICS)
def test_the_headline_metric_is_among_its_scores(metric):
    assert metric in score(metric, [0, 1, 1, 0], [0, 1, 0, 0])
    assert all(type(value) is float for value in score(metric, [0, 1, 1, 0], [0, 1, 0, 0]).values())


@pytest.mark.parametrize("metric", METRICS)
def test_evaluate_metric_gives_the_same_scores_offline(metric, published, tmp_path):
    part = published["stsb"] if metric in REGRESSION_METRICS else published
    labels, predictions = part["labels"], part["predictions"]
    task_metric = TaskMetric(metric, cache_dir=str(tmp_path))
    assert task_metric.compute(predictions=predictions, references=labels) == score(metric, labels, predictions)
    for prediction, label in zip(predictions, labels, strict=True):  # evaluate's other way, batch by batch
        task_metric.add(prediction=prediction, reference=label)
    assert task_metric.compute() == score(metric, labels, predictions)


def naive_macro_f1(labels, predictions):
    kinds = set(labels.tolist()) | set(predictions.tolist())
    return sum(naive_f1(labels == kind, predictions == kind) for kind in kinds) / len(kinds)


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
def test_macro_f1_equals_naive_loops_over_any_number_of_classes(classes):
    rng = np.random.default_rng(classes)
    for size in (1, 5, 200):
        labels, predictions = rng.integers(0, classes, size), rng.integers(0, classes, size)
        scores = score("macro_f1", labels, predictions)
        assert scores["macro_f1"] == tight(naive_macro_f1(labels, predictions))
        assert scores["accuracy"] == tight(naive_accuracy(labels, predictions))
    assert score("macro_f1", [0, 0, 1, 2], [0, 0, 0, 0])["macro_f1"] == pytest.approx(2 / 3 / 3)
