"""The expected best of a search is the mean over every possible draw."""

import itertools
import math
from functools import partial

import numpy as np
import pytest

from hype_bench.stats.search import expected_best, expected_best_std

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)
SCORES = [0.6534, 0.6606, 0.6318, 0.6715, 0.6679]


@pytest.mark.parametrize("scores", [[0.3], [0.5, 0.5, 0.9], [0.61, 0.2, 0.65, 0.4], [0.7] * 4])
@pytest.mark.parametrize("lost", [0, 2])
def test_expected_best_is_the_mean_over_every_possible_draw(scores, lost):
    for k in range(lost + 1, len(scores) + lost + 1):
        best = [max(draw) for draw in itertools.combinations([*scores, *[-math.inf] * lost], k)]
        assert expected_best(scores, k, lost) == tight(math.fsum(best) / len(best))
        assert expected_best_std(scores, k, lost) == pytest.approx(np.std(best), rel=1e-12, abs=1e-8)


def test_nothing_is_lost_unless_said():
    assert expected_best(SCORES, 2) == expected_best(SCORES, 2, lost=0)
    assert expected_best_std(SCORES, 2) == expected_best_std(SCORES, 2, lost=0)


def test_who_searched_more_is_not_expected_to_find_more():
    """Of equally good configurations the best of 4 is the same on average, whether 4, 5 or 8 were tried."""
    samples = np.random.default_rng(0).normal(size=(2000, 8))
    means = [np.mean([expected_best(sample[:tried], 4) for sample in samples]) for tried in (4, 5, 8)]
    assert means == pytest.approx([1.0294] * 3, abs=0.04)  # of 4 standard normals


@pytest.mark.parametrize(("scores", "k", "lost"), [(SCORES, 0, 0), (SCORES, 6, 0), ([], 1, 0), (SCORES, 2, 2)])
def test_no_more_can_be_tried_than_were(scores, k, lost):
    with pytest.raises(ValueError, match="the best of k"):
        expected_best(scores, k, lost)


@pytest.mark.parametrize("function", [expected_best, expected_best_std])
def test_what_is_not_finite_is_refused(function):
    with pytest.raises(ValueError, match="NaN or infinite"):
        function([0.5, math.nan, 0.7], 2)
