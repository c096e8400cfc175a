"""Means, their intervals and differences equal scipy's, and are NaN where nothing is known."""

import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hype_bench import stats as our_stats
from hype_bench.stats.means import difference_of_means, interval_of_mean, mean_and_std

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)
SCORES = [0.6534, 0.6606, 0.6318, 0.6715, 0.6679]
NOT_FINITE = (math.nan, math.inf, -math.inf)


def interval(scores, level=0.95):
    return interval_of_mean(*mean_and_std(scores), len(scores), level)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_is_that_of_scipy(n, level):
    expected = stats.ttest_1samp(SCORES[:n], 0).confidence_interval(level)
    assert interval(SCORES[:n], level) == tight((expected.low, expected.high))


def test_interval_of_three_seeds_from_the_printed_table_of_t():
    low, high = interval([1.0, 2.0, 3.0])
    assert (high - low) / 2 == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert (low + high) / 2 == pytest.approx(2.0)
    assert interval_of_mean(2.0, 1.0, 3) == (low, high)  # 95 % unless told otherwise


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
@pytest.mark.parametrize("function", [interval, mean_and_std])
def test_what_is_not_finite_is_refused_and_not_averaged(function, bad):
    with pytest.raises(ValueError, match=r"^a score is NaN or infinite"):
        function([0.5, bad, 0.7])


def test_scores_of_low_precision_are_averaged_in_float64():
    low = np.array(SCORES, dtype=np.float32)
    assert mean_and_std(low) == tight((np.mean(low, dtype=float), np.std(low, ddof=1, dtype=float)))


def test_scores_are_one_list():
    with pytest.raises(ValueError, match="1-d"):
        interval([[0.5, 0.6]])


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_is_a_fraction(level):
    with pytest.raises(ValueError, match="level"):
        interval(SCORES, level)


@pytest.mark.parametrize(("std_b", "n_b"), [(1.2, 5), (0.3, 2), (4.0, 20), (0.0, 4)])
def test_difference_of_means_is_welchs(std_b, n_b):
    result = difference_of_means(68.3, 1.2, 5, 67.1, std_b, n_b)
    expected = stats.ttest_ind_from_stats(68.3, 1.2, 5, 67.1, std_b, n_b, equal_var=False)
    assert result.mean == pytest.approx(1.2)
    assert result.p == tight(expected.pvalue)


def test_interval_of_a_difference_is_that_of_the_raw_scores():
    a, b = SCORES, [0.61, 0.66, 0.59]
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    result = difference_of_means(*mean_and_std(a), len(a), *mean_and_std(b), len(b), level=0.9)
    assert (result.low, result.high) == tight((expected.low, expected.high))


def test_p_and_interval_of_a_difference_agree():
    for mean in (0.5, 1.0, 2.0, 3.0):
        result = difference_of_means(mean, 1.0, 4, 0.0, 0.5, 6)
        assert (result.p < 0.05) == (not result.low <= 0 <= result.high)


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


def test_the_import_is_cheap():
    modules = ", ".join(f"hype_bench.stats.{path.stem}" for path in Path(our_stats.__path__[0]).glob("*.py"))
    code = f"import sys, {modules}; print(*{{'torch', 'scipy', 'sklearn', 'pandas'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
