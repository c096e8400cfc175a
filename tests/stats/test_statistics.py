"""Intervals, expected best, Holm and the scores of resampled data equal scipy, scikit-learn, loops and closed forms."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from hype_bench.config import METRICS
from hype_bench.stats.statistics import (
    WEIGHTED,
    difference_of_means,
    expected_best,
    expected_best_std,
    holm,
    interval_of_mean,
    mean_and_std,
    stars,
    weighted_scores,
)
from hype_bench.tasks.metrics import score

TIGHT = {"rel": 1e-12, "abs": 1e-12}
SCORES = [0.6534, 0.6606, 0.6318, 0.6715, 0.6679]
NOT_FINITE = (math.nan, math.inf, -math.inf)


def interval(scores, level=0.95):
    return interval_of_mean(*mean_and_std(scores), len(scores), level)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_is_that_of_scipy(n, level):
    expected = stats.ttest_1samp(SCORES[:n], 0).confidence_interval(level)
    assert interval(SCORES[:n], level) == pytest.approx((expected.low, expected.high), **TIGHT)


def test_interval_of_three_seeds_from_the_printed_table_of_t():
    low, high = interval([1.0, 2.0, 3.0])
    assert (high - low) / 2 == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert (low + high) / 2 == pytest.approx(2.0)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(0.7, 0.02, (2000, 3))
    covered = [low <= 0.7 <= high for low, high in map(interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("scores", [[], [0.5]])
def test_no_interval_below_two_scores(scores):
    assert np.isnan(interval(scores)).all()
    assert math.isnan(mean_and_std(scores)[1])


def test_equal_scores_have_no_spread_at_all():
    assert mean_and_std([0.1] * 3) == (0.1, 0.0)
    assert interval([0.1] * 3) == (0.1, 0.1)


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("function", [interval, mean_and_std, lambda scores: expected_best(scores, 2)])
def test_what_is_not_finite_is_refused_and_not_averaged(function, bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        function([0.5, bad, 0.7])


def test_scores_are_one_list():
    with pytest.raises(ValueError, match="1-d"):
        interval([[0.5, 0.6]])


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_is_a_fraction(level):
    with pytest.raises(ValueError, match="level"):
        interval(SCORES, level)


@pytest.mark.parametrize(("std_b", "n_b"), [(1.2, 5), (0.3, 3), (4.0, 20), (0.0, 4)])
def test_difference_of_means_is_welchs(std_b, n_b):
    found = difference_of_means(68.3, 1.2, 5, 67.1, std_b, n_b)
    expected = stats.ttest_ind_from_stats(68.3, 1.2, 5, 67.1, std_b, n_b, equal_var=False)
    assert found.mean == pytest.approx(1.2)
    assert found.p == pytest.approx(expected.pvalue, **TIGHT)


def test_interval_of_a_difference_is_that_of_the_raw_scores():
    a, b = SCORES, [0.61, 0.66, 0.59]
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    found = difference_of_means(*mean_and_std(a), len(a), *mean_and_std(b), len(b), level=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), **TIGHT)


def test_p_and_interval_of_a_difference_agree():
    for mean in (0.5, 1.0, 2.0, 3.0):
        found = difference_of_means(mean, 1.0, 4, 0.0, 0.5, 6)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_difference_of_means_at_its_edges():
    alone = difference_of_means(0.7, math.nan, 1, 0.6, 0.01, 5)
    assert alone.mean == pytest.approx(0.1)
    assert np.isnan(alone[1:]).all()
    assert difference_of_means(0.5, 0.0, 3, 0.5, 0.0, 3) == (0, 0, 0, 1)
    assert difference_of_means(0.75, 0.0, 3, 0.5, 0.0, 3) == (0.25, 0.25, 0.25, 0)
    assert difference_of_means(0.5, 1e-100, 3, 0.25, 1e-100, 3).p == pytest.approx(0)
    for mean, std in ((math.nan, 0.1), (0.5, math.nan), (0.5, -0.1)):
        with pytest.raises(ValueError, match="not a mean"):
            difference_of_means(mean, std, 3, 0.5, 0.1, 3)


@pytest.mark.parametrize("scores", [[0.3], [0.5, 0.5, 0.9], [0.61, 0.2, 0.65, 0.4], [0.7] * 4])
@pytest.mark.parametrize("lost", [0, 2])
def test_expected_best_is_the_mean_over_every_possible_draw(scores, lost):
    for k in range(lost + 1, len(scores) + lost + 1):
        best = [max(draw) for draw in itertools.combinations([*scores, *[-math.inf] * lost], k)]
        assert expected_best(scores, k, lost) == pytest.approx(math.fsum(best) / len(best), **TIGHT)
        assert expected_best_std(scores, k, lost) == pytest.approx(np.std(best), rel=1e-12, abs=1e-8)


def test_who_searched_more_is_not_expected_to_find_more():
    """Of equally good configurations the best of 4 is the same on average, whether 4, 5 or 8 were tried."""
    samples = np.random.default_rng(0).normal(size=(2000, 8))
    means = [np.mean([expected_best(sample[:tried], 4) for sample in samples]) for tried in (4, 5, 8)]
    assert means == pytest.approx([1.0294] * 3, abs=0.04)  # of 4 standard normals


@pytest.mark.parametrize(("scores", "k", "lost"), [(SCORES, 0, 0), (SCORES, 6, 0), ([], 1, 0), (SCORES, 2, 2)])
def test_no_more_can_be_tried_than_were(scores, k, lost):
    with pytest.raises(ValueError, match="the best of k"):
        expected_best(scores, k, lost)


def naive_holm(p_values):
    """Step down from the smallest: each is multiplied by the number of hypotheses still open."""
    adjusted, highest = {}, 0.0
    for done, (p, place) in enumerate(sorted((p, place) for place, p in enumerate(p_values))):
        highest = max(highest, min(1.0, p * (len(p_values) - done)))
        adjusted[place] = highest
    return [adjusted[place] for place in range(len(p_values))]


def test_holm_on_an_example_of_textbooks():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("n", [0, 1, 2, 7, 30])
def test_holm_is_the_loop(n):
    p_values = np.random.default_rng(n).random(n).round(1) ** 2  # with ties, and adjusted values above 1
    before = p_values.copy()
    assert holm(p_values) == pytest.approx(naive_holm(p_values), **TIGHT)
    assert (p_values == before).all()


def test_a_comparison_that_was_not_made_does_not_count():
    assert holm([0.02, math.nan, 0.01]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)
    assert np.isnan(holm([math.nan])).all()


@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_holm_takes_probabilities(bad):
    with pytest.raises(ValueError, match="outside"):
        holm([0.5, bad])


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1, ""), (0.05, ""), (0.049, "*"), (0.01, "*"), (0.0099, "**"), (0.001, "**"), (0.0009, "***"), (0, "***")],
)
def test_stars(p, expected):
    assert stars(p) == expected
    assert stars(math.nan) == ""


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
    return labels, predictions


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
    found = weighted_scores(metric, labels, predictions, counts)
    assert found == pytest.approx(np.array(expected), nan_ok=True, **TIGHT)


def test_a_prediction_far_from_zero_keeps_its_correlation():
    labels = np.arange(10.0)
    near_constant = 1e6 + 1e-4 * np.random.default_rng(0).normal(size=10)
    expected = score("pearson_spearman", labels, near_constant)["pearson_spearman"]
    found = weighted_scores("pearson_spearman", labels, near_constant[None], np.ones((1, 10)))
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_import_is_cheap():
    code = "import sys, hype_bench.stats.paired; print(*{'torch', 'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
