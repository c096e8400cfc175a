"""Differences paired by seed equal scipy's, and are NaN where nothing is known."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.paired import paired_difference, probability_of_improvement, seed_differences

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)
A = {1: 0.664, 2: 0.671, 3: 0.658, 4: 0.693, 5: 0.640}
B = {5: 0.641, 4: 0.650, 3: 0.655, 2: 0.662, 1: 0.661, 6: 0.9}
DIFFERENCES = [A[seed] - B[seed] for seed in A]


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_paired_difference_is_that_of_the_paired_t_test(level):
    result = paired_difference(A, B, level)
    expected = stats.ttest_rel([A[seed] for seed in A], [B[seed] for seed in A]).confidence_interval(level)
    assert (result.low, result.high) == tight((expected.low, expected.high))
    assert (result.mean, result.std) == tight((np.mean(DIFFERENCES), np.std(DIFFERENCES, ddof=1)))
    assert result.n == 5
    assert paired_difference(A, B) == paired_difference(A, B, 0.95)


def test_only_seeds_of_both_count_in_their_order():
    assert seed_differences({3: 3.0, 1: 1.0, 9: math.nan}, {1: 0.5, 3: 1.0}).tolist() == [0.5, 2.0]


def test_one_common_seed_has_no_spread_and_none_has_nothing():
    one, none = paired_difference({1: 0.75, 2: 0.1}, {1: 0.5}), paired_difference({1: 0.7}, {2: 0.6})
    assert (one.mean, one.n) == (0.25, 1)
    assert np.isnan([one.std, one.low, one.high]).all()
    assert none.n == 0
    assert np.isnan([none.mean, none.std, none.low, none.high]).all()


def test_probability_of_improvement_is_mann_whitneys():
    a, b = np.random.default_rng(0).integers(0, 6, (2, 9)) / 10
    expected = stats.mannwhitneyu(a, b[:7]).statistic / 63
    assert probability_of_improvement(a, b[:7]) == tight(expected)


def test_probability_of_improvement_at_its_edges():
    assert probability_of_improvement([2, 3], [0, 1]) == 1
    assert probability_of_improvement([1, 1], [1, 1]) == 0.5
    assert probability_of_improvement([2], [1, 3]) == 0.5
    with pytest.raises(ValueError, match=r"^a probability of improvement needs a run on both sides"):
        probability_of_improvement([], [0.5])
