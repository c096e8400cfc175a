"""Corrections for many comparisons equal the textbook's loop and scipy."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.multiple import CORRECTIONS, benjamini_hochberg, holm, stars

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)


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
    assert holm(p_values) == tight(naive_holm(p_values))
    assert (p_values == before).all()


def test_holm_of_p_values_of_low_precision_is_in_float64():
    p_values = np.array([0.01, 0.04, 0.03], dtype=np.float32)
    assert holm(p_values).tolist() == tight(naive_holm(p_values.tolist()))


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_benjamini_hochberg_is_that_of_scipy(n):
    p_values = np.random.default_rng(n).random(n).round(1) ** 2
    assert benjamini_hochberg(p_values) == tight(stats.false_discovery_control(p_values))


def test_a_comparison_that_was_not_made_does_not_count():
    assert holm([0.02, math.nan, 0.01]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)
    assert benjamini_hochberg([0.03, math.nan, 0.01]) == pytest.approx([0.03, math.nan, 0.02], nan_ok=True)


@pytest.mark.parametrize("correction", CORRECTIONS.values())
def test_nothing_compared_is_nothing_adjusted(correction):
    assert np.isnan(correction([math.nan])).all()
    assert correction([]).tolist() == []


@pytest.mark.parametrize("bad", [-0.1, 1.1])
@pytest.mark.parametrize("correction", CORRECTIONS.values())
def test_only_probabilities_are_adjusted(correction, bad):
    with pytest.raises(ValueError, match=r"^a p-value lies outside"):
        correction([0.5, bad])


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1, ""), (0.05, ""), (0.049, "*"), (0.01, "*"), (0.0099, "**"), (0.001, "**"), (0.0009, "***"), (0, "***")],
)
def test_stars(p, expected):
    assert stars(p) == expected
    assert stars(math.nan) == ""
