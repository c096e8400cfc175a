"""The permutation test equals scipy and a naive loop, and keeps its level."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats import permutation
from hype_bench.stats.permutation import EXACT_UP_TO, SIGN_FLIP_FROM, least_p, permutation_p

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)


def naive_permutation_p(differences):
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(math.fsum(sign * value for sign, value in zip(pattern, differences, strict=True))) for pattern in signs]
    return sum(total >= sums[0] - 1e-12 for total in sums) / len(sums)


@pytest.mark.parametrize("n", range(1, 11))
def test_permutation_p_is_exact(n):
    differences = np.random.default_rng(n).normal(0.5, 1, n).round(1)  # rounded: with ties and zeros
    assert permutation_p(differences) == tight(naive_permutation_p(differences))


def test_permutation_p_is_that_of_scipy():
    differences = np.random.default_rng(0).normal(0.4, 1, 9)
    expected = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert permutation_p(differences) == tight(expected.pvalue)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 16])
def test_no_p_is_below_the_least(n):
    assert permutation_p(np.linspace(0.1, 0.2, n)) == least_p(n) == 2 / 2**n


def test_the_least_p_of_three_seeds_is_a_quarter_and_six_are_the_first_below_five_percent():
    assert least_p(3) == 0.25
    assert next(n for n in range(1, 10) if least_p(n) < 0.05) == SIGN_FLIP_FROM == 6
    assert np.isnan([least_p(0), permutation_p([])]).all()


def test_above_twenty_seeds_random_patterns_stand_for_all(monkeypatch):
    differences = np.random.default_rng(3).normal(0.5, 1, 12)
    exact = permutation_p(differences)
    monkeypatch.setattr(permutation, "EXACT_UP_TO", 11)
    assert permutation_p(differences, draws=20_000) == pytest.approx(exact, abs=0.01)
    assert permutation_p(np.full(12, 0.1), draws=9) in (1 / 10, 2 / 10)
    assert least_p(12, draws=9) == 1 / 10


def test_ties_that_rounding_splits_are_ties():
    assert permutation_p([0.3, -0.1, -0.2]) == permutation_p([3, -1, -2]) == 1
    assert permutation_p([0.1 + 0.2, 0.3, -0.3]) == permutation_p([3, 3, -3])


@pytest.mark.parametrize("n", [10, EXACT_UP_TO + 1])  # all patterns, and random ones
def test_permutation_keeps_its_level(n):
    samples = np.random.default_rng(1).normal(size=(1000, n))
    rejected = np.mean([permutation_p(sample, draws=499, seed=i) <= 0.05 for i, sample in enumerate(samples)])
    assert rejected == pytest.approx(0.05, abs=0.02)
