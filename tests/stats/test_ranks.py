"""Ranks, Friedman's test and the critical difference are those of scipy and of Demsar's tables."""

import math

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.ranks import critical_difference, friedman_p, mean_ranks, ranks

SCORES = np.random.default_rng(0).integers(0, 8, (6, 4)) / 10


def test_the_best_has_rank_one_and_ties_share():
    assert ranks([[0.5, 0.9, 0.5, 0.1]]).tolist() == [[2.5, 1, 2.5, 4]]
    assert mean_ranks(SCORES) == pytest.approx(stats.rankdata(-SCORES, axis=1).mean(axis=0))
    with pytest.raises(ValueError, match="NaN or infinite"):
        ranks([[0.5, math.nan]])


def test_friedmans_p_is_chi_squareds_where_there_are_tasks_enough():
    scores = np.random.default_rng(1).normal([0, 0, 0.2, 0.4], size=(40, 4))
    assert friedman_p(scores) == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue, abs=0.01)


def test_two_tasks_that_agree_are_half_a_chance():
    assert friedman_p([[0.1, 0.2], [0.3, 0.5]]) == pytest.approx(0.5, abs=0.02)
    assert friedman_p([[0.1, 0.1], [0.3, 0.3]]) == 1
    assert math.isnan(friedman_p([[0.1, 0.2]]))
    assert math.isnan(friedman_p([[0.1], [0.2]]))


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_that_of_demsars_table_5(methods, quantile):
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(expected, rel=5e-4)
