"""Stopping at any time: the evidence by integration, its level and its savings by simulation."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from hype_bench.stats.sequential import confidence_sequence, decide
from hype_bench.stats.verdict import HELPS, HURTS, NO_DIFFERENCE, UNDECIDED

LEAST, MOST = 5, 20


def evidence(values, mean=0.0):
    """The likelihood of t, averaged over effects from N(0, 1), relative to that of no effect: by integration."""
    n = len(values)
    t = stats.ttest_1samp(values, mean).statistic

    def weighted(effect):
        return stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * stats.norm.pdf(effect)

    return integrate.quad(weighted, -8, 8)[0] / stats.t.pdf(t, n - 1)


@pytest.mark.parametrize("n", [6, 12])
def test_the_ends_are_where_the_evidence_reaches_twenty(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    for ends in confidence_sequence(values):
        assert evidence(values, ends[-1]) == pytest.approx(20, rel=1e-3)


def test_every_look_is_that_of_the_values_so_far():
    values = np.random.default_rng(0).normal(size=9)
    lows, highs = confidence_sequence(values)
    assert len(lows) == 8
    for n in (5, 7, 9):
        low, high = confidence_sequence(values[:n])
        assert (low[-1], high[-1]) == pytest.approx((lows[n - 2], highs[n - 2]))
    assert np.isinf(lows[0])  # two values bound nothing


@pytest.mark.parametrize(
    ("differences", "word", "seeds"),
    [
        ([0.03, 0.031, 0.029, 0.03, 0.032, 0.0], HELPS, 5),
        ([-0.03, -0.031, -0.029, -0.03, -0.032], HURTS, 5),
        ([0.0001, -0.0002, 0.0, 0.0001, -0.0001], NO_DIFFERENCE, 5),
        ([0.0] * 5, NO_DIFFERENCE, 5),
        ([1e-17, 0.0, -1e-17, 0.0, 0.0], NO_DIFFERENCE, 5),
        ([0.0] * 4, UNDECIDED, 4),
        ([0.03] * 7, UNDECIDED, 7),  # the same on a few seeds is luck on a grid of scores, as much as an effect
        ([0.03] * 8, HELPS, 8),  # 9 / 2^8 < 0.05
        ([-0.03] * 8, HURTS, 8),
        ([0.001] * 7, UNDECIDED, 7),
        ([0.001] * 8, NO_DIFFERENCE, 8),
        ([0.63 - 0.6, 0.73 - 0.7, 0.03, 0.53 - 0.5, 0.03], UNDECIDED, 5),  # equal but for rounding
        ([0.03] * 5 + [0.031], HELPS, 6),
        ([0.03, -0.02, 0.01, 0.04, -0.01, 0.02], UNDECIDED, 6),
        ([], UNDECIDED, 0),
    ],
)
def test_decisions(differences, word, seeds):
    decision = decide(differences, margin=0.005, least=5)
    assert (decision.word, decision.seeds) == (word, seeds)


def test_what_is_no_difference_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        decide([0.1, math.nan])
    with pytest.raises(ValueError, match="a margin is 0 or more"):
        decide([0.1], margin=-1)


def test_more_rows_need_more_seeds_that_agree():
    assert [decide([0.03] * 20, level=1 - 0.05 / rows).seeds for rows in (1, 2, 4, 10)] == [8, 9, 10, 12]
    assert decide([0.0] * 20, margin=0).word == UNDECIDED


def test_a_coarse_grid_of_scores_keeps_the_level():
    """Differences of one example, more or less: the first five are equal in one case of 16."""
    samples = np.random.default_rng(2).choice([-0.01, 0.01], size=(4000, MOST))
    assert share([decide(sample, 0, LEAST) for sample in samples], HELPS, HURTS) <= 0.05


def decisions(effect, draws, margin=0.0, most=MOST):
    samples = np.random.default_rng(0).normal(effect, 1, size=(draws, most))
    return [decide(sample, margin, LEAST) for sample in samples]


def share(verdicts, *words):
    return np.mean([decision.word in words for decision in verdicts])


def test_a_t_test_that_is_repeated_after_every_seed_is_wrong_far_more_often():
    samples = np.random.default_rng(1).normal(size=(500, MOST))
    p_values = [stats.ttest_1samp(samples[:, :n], 0, axis=1).pvalue for n in range(LEAST, MOST + 1)]
    assert (np.min(p_values, axis=0) < 0.05).mean() > 0.1
    assert share([decide(sample, 0, LEAST) for sample in samples], HELPS, HURTS) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("most", [MOST, 200])
def test_identical_techniques_are_called_different_in_one_case_of_twenty_at_most(most):
    """However many looks there are."""
    assert share(decisions(0.0, 4000, most=most), HELPS, HURTS) <= 0.05


@pytest.mark.slow
def test_a_difference_of_the_margin_is_called_none_in_one_case_of_twenty_at_most():
    assert share(decisions(1.0, 4000, margin=1.0), NO_DIFFERENCE) <= 0.05


@pytest.mark.slow
def test_a_large_effect_is_decided_with_less_than_two_thirds_of_twenty_seeds():
    verdicts = decisions(2.0, 2000)
    assert share(verdicts, HELPS) > 0.99
    assert np.mean([decision.seeds for decision in verdicts]) < MOST * 2 / 3
    assert np.mean([decision.seeds for decision in decisions(1.0, 2000)]) < MOST * 2 / 3
