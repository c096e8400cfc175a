"""The expected best of a search is the mean over every possible draw."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.search import difference_of_searches, expected_best, expected_best_std, expected_choice

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)
SCORES = [0.6534, 0.6606, 0.6318, 0.6715, 0.6679]


@pytest.mark.parametrize("scores", [[0.3], [0.5, 0.5, 0.9], [0.61, 0.2, 0.65, 0.4], [0.7] * 4])
def test_expected_best_is_the_mean_over_every_possible_draw(scores):
    for k in range(1, len(scores) + 1):
        best = [max(draw) for draw in itertools.combinations(scores, k)]
        assert expected_best(scores, k) == tight(math.fsum(best) / len(best))
        assert expected_best_std(scores, k) == pytest.approx(np.std(best), rel=1e-12, abs=1e-8)


def test_expected_choice_is_the_mean_over_every_possible_draw():
    chosen_by = [0.5, 0.9, 0.7, 0.6]
    for k in (1, 2, 3, 4):
        draws = itertools.combinations(range(4), k)
        reported = [SCORES[max(draw, key=lambda n: chosen_by[n])] for draw in draws]
        assert expected_choice(chosen_by, SCORES[:4], k) == tight(math.fsum(reported) / len(reported))
    assert expected_choice(SCORES, SCORES, 3) == tight(expected_best(SCORES, 3))


def test_without_a_search_the_difference_is_that_of_the_paired_t_test():
    a, b = np.random.default_rng(0).normal(size=(2, 1, 5))
    result = difference_of_searches((a, a), (b, b), 1)
    expected = stats.ttest_rel(a[0], b[0])
    assert result.p == tight(expected.pvalue)
    assert result[1:3] == tight(tuple(expected.confidence_interval()))
    alone = difference_of_searches((a[:, :1], a[:, :1]), (b[:, :1], b[:, :1]), 1)
    assert alone.mean == tight(a[0, 0] - b[0, 0])
    assert np.isnan(alone[1:]).all()


def test_who_searched_more_is_no_better_after_equal_searches():
    """Eight equal configurations against four, three seeds: 0 is in about 95 % of the intervals."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(400):
        a, b = rng.normal(size=(8, 3)), rng.normal(size=(4, 3))
        result = difference_of_searches((a, a), (b, b), 4)
        inside.append(result.low <= 0 <= result.high)
    assert 0.93 <= np.mean(inside) <= 0.98


def test_the_choice_may_be_made_by_other_scores_than_those_reported():
    heldout, dev = np.array([[0.1], [0.9]]), np.array([[0.7], [0.5]])
    base = np.array([[0.4]])
    assert difference_of_searches((heldout, dev), (base, base), 1).mean == tight(0.6 - 0.4)
    assert difference_of_searches((heldout, dev), (heldout, heldout), 2).mean == tight(0.5 - 0.9)


def test_who_searched_more_is_not_expected_to_find_more():
    """Of equally good configurations the best of 4 is the same on average, whether 4, 5 or 8 were tried."""
    samples = np.random.default_rng(0).normal(size=(2000, 8))
    means = [np.mean([expected_best(sample[:tried], 4) for sample in samples]) for tried in (4, 5, 8)]
    assert means == pytest.approx([1.0294] * 3, abs=0.04)  # of 4 standard normals


@pytest.mark.parametrize(("scores", "k"), [(SCORES, 0), (SCORES, 6), ([], 1)])
def test_no_more_can_be_tried_than_were(scores, k):
    with pytest.raises(ValueError, match="the best of k"):
        expected_best(scores, k)


@pytest.mark.parametrize("function", [expected_best, expected_best_std])
def test_what_is_not_finite_is_refused(function):
    with pytest.raises(ValueError, match="NaN or infinite"):
        function([0.5, math.nan, 0.7], 2)
