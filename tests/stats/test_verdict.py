"""Four words, each from a difference made for it; a family; and how often a word is wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats import verdict
from hype_bench.stats.crossed import Crossed, average_difference, crossed_difference, difference_over_seeds
from hype_bench.stats.multiple import benjamini_hochberg
from hype_bench.stats.verdict import HELPS, HURTS, NO_DIFFERENCE, UNDECIDED, verdicts


def difference(mean, error, seeds=5):
    return Crossed(mean, error, 0.0, seeds - 1.0, seeds, 400)


@pytest.mark.parametrize(
    ("mean", "error", "word"),
    [
        (0.03, 0.005, HELPS),
        (-0.03, 0.005, HURTS),
        (0.001, 0.001, NO_DIFFERENCE),
        (0.003, 0.0005, NO_DIFFERENCE),  # though not 0 either: p < 0.01
        (0.01, 0.01, UNDECIDED),
        (0.0, 0.0, NO_DIFFERENCE),
        (0.01, 0.0, HELPS),
        (0.01, math.nan, UNDECIDED),
    ],
)
def test_each_word(mean, error, word):
    (verdict,) = verdicts([difference(mean, error)])
    assert verdict.word == word


def test_equivalence_is_two_t_tests_of_scipy():
    sample = np.random.default_rng(0).normal(0.001, 0.004, 12)
    greater = stats.ttest_1samp(sample, -0.005, alternative="greater").pvalue
    less = stats.ttest_1samp(sample, 0.005, alternative="less").pvalue
    (verdict,) = verdicts([difference_over_seeds(sample)], margin=0.005)
    assert verdict.p_equivalent == pytest.approx(max(greater, less))


def test_a_family_shares_its_errors():
    family = [difference(mean, 0.005) for mean in (0.015, 0.016, 0.017)]
    alone = [verdicts([one])[0].word for one in family]
    assert alone == [HELPS] * 3
    assert [verdict.word for verdict in verdicts(family)] == [UNDECIDED] * 3
    assert [verdict.word for verdict in verdicts(family, correction=benjamini_hochberg)] == [HELPS] * 3


def test_an_open_question_is_told_how_many_seeds_it_needs():
    """G*Power: a paired t test finds half a standard deviation with 34 seeds, and with 5 one of 1.68."""
    (verdict,) = verdicts([difference(0.002, 0.01 / math.sqrt(5))], margin=0.005)
    assert (verdict.word, verdict.more_seeds) == (UNDECIDED, 29)
    assert verdict.detectable == pytest.approx(0.0168, abs=1e-4)


def test_one_seed_decides_nothing():
    (verdict,) = verdicts([crossed_difference(np.ones((1, 10)))])
    assert (verdict.word, verdict.difference.mean) == (UNDECIDED, 1)
    assert np.isnan([verdict.p, verdict.p_equivalent, verdict.detectable, verdict.more_seeds]).all()


def test_a_margin_is_not_negative():
    with pytest.raises(ValueError, match=r"^a margin is 0 or more, not -1"):
        verdicts([], margin=-1)


def test_a_difference_at_the_margin_is_called_none_in_one_case_of_twenty(monkeypatch):
    """At most: the two one-sided tests keep their level where the true difference is the margin itself."""
    for name in ("seeds_needed", "detectable"):  # which take their time, and are no part of the word
        monkeypatch.setattr(verdict, name, lambda *_: math.nan)
    samples = np.random.default_rng(1).normal(0.005, 0.003, size=(1000, 5))
    words = [verdicts([difference_over_seeds(sample)])[0].word for sample in samples]
    assert 0.03 <= words.count(NO_DIFFERENCE) / len(words) <= 0.07


def test_the_average_over_tasks_is_welchs():
    """Of two tasks, twice the mean is the difference of one from the other's negative."""
    a, b = np.random.default_rng(2).normal(0.3, [[1], [3]], size=(2, 6))
    mean = average_difference([difference_over_seeds(a), difference_over_seeds(b[:4])])
    expected = stats.ttest_ind(a, -b[:4], equal_var=False)
    assert mean.mean == pytest.approx((a.mean() + b[:4].mean()) / 2)
    assert (mean.p, mean.freedom) == pytest.approx((expected.pvalue, expected.df))
    assert (mean.seeds, mean.examples) == (4, 0)
    with pytest.raises(ValueError, match="needs one"):
        average_difference([])


def test_seeds_that_agree_exactly_prove_nothing_but_a_tie():
    (same, tied) = verdicts([difference_over_seeds([0.03] * 3), difference_over_seeds([0.0] * 3)])
    assert (same.word, tied.word) == (UNDECIDED, NO_DIFFERENCE)
    assert same.difference.mean == pytest.approx(0.03)
