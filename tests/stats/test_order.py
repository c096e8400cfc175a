"""Almost stochastic order: by hand at its ends, and rarely claimed where there is none."""

import math

import numpy as np
import pytest

from hype_bench.stats.order import almost_order, violation

A = [0.61, 0.64, 0.66, 0.70, 0.71]


def test_the_violation_by_hand():
    assert violation([3, 1], [0, 2]) == 0  # sorted 1, 3 and 0, 2: above at every quantile
    assert violation([0, 2], [3, 1]) == 1
    assert violation([0, 5], [1, 2]) == pytest.approx(1 / (1 + 9))  # 1 below at the lower half, 3 above at the upper
    assert violation(A, A) == 0.5


def test_unequal_numbers_are_compared_at_every_quantile():
    a, b = [0.0, 3.0], [1.0, 1.0, 4.0]  # thirds and halves: 0, 0, 0, 3, 3, 3 and 1, 1, 1, 1, 4, 4
    assert violation(a, b) == pytest.approx((3 * 1 + 2 * 1) / (3 * 1 + 4 + 2 * 1))
    assert violation(a, b) + violation(b, a) == pytest.approx(1)


def test_who_is_far_better_dominates_and_the_other_does_not():
    b = [score - 0.2 for score in A]
    assert almost_order(A, b) == 0
    assert almost_order(b, A) == 1


def test_the_published_library_gives_the_same_but_for_its_draws():
    """deepsig 1.2.8, 500 draws: aso(a, b) = 0.725."""
    a = [0.4257, 0.1679, 0.9404, 0.4049, -0.2357]
    b = [0.3616, 1.304, 0.9471, -0.7037, -1.2654]
    assert almost_order(a, b) == pytest.approx(0.725, abs=0.03)


def test_of_equal_methods_dominance_is_rarely_claimed():
    draws = np.random.default_rng(0).normal(size=(200, 2, 10))
    claimed = [almost_order(*draw, draws=300) < 0.2 for draw in draws]
    assert np.mean(claimed) <= 0.08


def test_few_scores_and_none():
    assert math.isnan(almost_order(A, A[:4]))
    assert almost_order(A, A[::-1], seed=1) > 0.5
    with pytest.raises(ValueError, match="a score on both sides"):
        violation(A, [])
    with pytest.raises(ValueError, match="NaN or infinite"):
        almost_order(A, [math.nan] * 5)
