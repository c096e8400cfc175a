"""Over tasks: the closed forms are those of the textbook, the bootstrap agrees where it may, and levels are held."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.over_tasks import mean_improvement, mean_over_tasks, tasks_won
from hype_bench.stats.paired import probability_of_improvement

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)
RNG = np.random.default_rng(0)


def test_one_task_is_students():
    scores = [0.61, 0.64, 0.60, 0.66]
    result, expected = mean_over_tasks([scores]), stats.ttest_1samp(scores, 0)
    assert (result.mean, result.p) == tight((np.mean(scores), expected.pvalue))
    assert (result.low, result.high) == tight(tuple(expected.confidence_interval()))


def test_two_tasks_are_welchs():
    """The mean of a and -b is half of Welch's difference of a and b."""
    a, b = RNG.normal(size=4), RNG.normal(size=7) * 3
    result, expected = mean_over_tasks([a, -b]), stats.ttest_ind(a, b, equal_var=False)
    assert result.p == tight(expected.pvalue)
    assert (2 * result.low, 2 * result.high) == tight(tuple(expected.confidence_interval()))


def test_the_stratified_bootstrap_agrees_where_there_are_seeds_enough():
    tasks = [RNG.normal(size=20) * scale for scale in (1, 2, 3)]
    drawn = [RNG.choice(values, (20_000, 20)).mean(axis=1) for values in tasks]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    result = mean_over_tasks(tasks)
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.08 * (high - low))


@pytest.mark.parametrize("scales", [(1, 1), (1, 2, 3, 5)])
def test_three_seeds_hold_their_level(scales):
    draws = np.random.default_rng(0).normal(size=(1000, len(scales), 3)) * np.array(scales)[:, None]
    p_values = [mean_over_tasks(list(draw)).p for draw in draws]
    assert 0.03 <= np.mean(np.array(p_values) < 0.05) <= 0.07


def test_without_seeds_or_spread():
    one_seed = mean_over_tasks([[0.5, 0.7], [0.6]])
    assert one_seed.mean == tight(0.6)
    assert np.isnan(one_seed[1:]).all()
    assert mean_over_tasks([[0.5, 0.5], [0.7, 0.7]])[1:] == tight((0.6, 0.6, 0))
    with pytest.raises(ValueError, match="a score on each"):
        mean_over_tasks([[0.5], []])
    with pytest.raises(ValueError, match="a score on each"):
        mean_improvement([])


def test_mean_improvement_is_the_mean_of_the_tasks():
    pairs = [(RNG.normal(size=5) + 0.5, RNG.normal(size=5)) for _ in range(3)]
    result = mean_improvement(pairs)
    assert result.mean == tight(np.mean([probability_of_improvement(a, b) for a, b in pairs]))
    assert 0 <= result.low < result.mean < result.high <= 1


def test_its_error_is_delongs():
    """For one task and unpaired runs: the variance of U by the placements of both sides."""
    a, b = RNG.normal(size=60) + 0.4, RNG.normal(size=60)
    better = a[:, None] > b
    variance = better.mean(axis=1).var(ddof=1) / 60 + better.mean(axis=0).var(ddof=1) / 60
    result = mean_improvement([(a, b)])
    half = stats.t.ppf(0.975, 59) * math.sqrt(variance)
    assert (result.low, result.high) == pytest.approx((result.mean - half, result.mean + half), abs=0.1 * half)


def test_runs_that_are_all_better_say_nothing_of_how_sure_that_is():
    result = mean_improvement([([2, 3], [0, 1]), ([5, 6], [3, 4])])
    assert result.mean == 1
    assert np.isnan(result[1:]).all()


@pytest.mark.parametrize(("p_values", "won"), [([], 0), ([0.04], 1), ([0.04, 0.04], 0), ([0.01, 0.02, 0.3], 2)])
def test_tasks_won_by_hand(p_values, won):
    assert tasks_won(p_values) == won


def test_more_tasks_than_are_won_are_rarely_claimed():
    """Of four tasks one is won for sure: two or more are claimed in at most 5 % of the cases."""
    draws = np.random.default_rng(0).random((4000, 4)) * [1e-9, 1, 1, 1]
    claimed = [tasks_won(draw) for draw in draws]
    assert min(claimed) == 1
    assert np.mean(np.array(claimed) > 1) <= 0.05


def test_tasks_won_is_the_largest_conjunction():
    for draw in np.random.default_rng(1).random((50, 5)) * 0.1:
        conjunctions = [(5 - u + 1) * np.sort(draw)[u - 1] for u in range(1, 6)]
        expected = len(list(itertools.takewhile(lambda p: p <= 0.05, conjunctions)))
        assert tasks_won(draw) == expected
    with pytest.raises(ValueError, match="outside"):
        tasks_won([0.5, 1.2])
