"""Paired comparisons equal scipy and naive loops, keep their level, and are NaN where nothing is known."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats import paired
from hype_bench.stats.paired import (
    EXACT_UP_TO,
    bootstrap_examples,
    bootstrap_p,
    least_p,
    paired_difference,
    permutation_examples,
    permutation_p,
    probability_of_improvement,
    seed_differences,
)
from hype_bench.stats.statistics import WEIGHTED
from hype_bench.tasks.metrics import score

TIGHT = {"rel": 1e-12, "abs": 1e-12}
A = {1: 0.664, 2: 0.671, 3: 0.658, 4: 0.693, 5: 0.640}
B = {5: 0.641, 4: 0.650, 3: 0.655, 2: 0.662, 1: 0.661, 6: 0.9}
DIFFERENCES = [A[seed] - B[seed] for seed in A]
EXAMPLES = 40


def run(metric, seeds=2, examples=EXAMPLES, skill=0.0, seed=0):
    """Labels and predictions [seeds, examples] of two methods, the first of which is better by ``skill``."""
    rng = np.random.default_rng(seed)
    if metric in ("pearson", "spearman", "pearson_spearman"):
        labels = rng.integers(0, 26, examples) / 5
        return labels, *(labels + spread * rng.normal(size=(seeds, examples)) for spread in (2 - skill, 2))
    labels = rng.integers(0, 2, examples)
    hits = (rng.random((seeds, examples)) < right for right in (0.6 + skill, 0.6))
    return labels, *(np.where(hit, labels, 1 - labels) for hit in hits)


def gap(metric, labels, a, b):
    of_a, of_b = ([score(metric, labels, run)[metric] for run in runs] for runs in (a, b))
    return np.mean(of_a) - np.mean(of_b)


# over seeds


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_paired_difference_is_that_of_the_paired_t_test(level):
    found = paired_difference(A, B, level)
    expected = stats.ttest_rel([A[seed] for seed in A], [B[seed] for seed in A]).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), **TIGHT)
    assert (found.mean, found.std) == pytest.approx((np.mean(DIFFERENCES), np.std(DIFFERENCES, ddof=1)), **TIGHT)
    assert found.n == 5


def test_only_seeds_of_both_count_in_their_order():
    assert seed_differences({3: 3.0, 1: 1.0, 9: math.nan}, {1: 0.5, 3: 1.0}).tolist() == [0.5, 2.0]


def test_one_common_seed_has_no_spread_and_none_has_nothing():
    one, none = paired_difference({1: 0.75, 2: 0.1}, {1: 0.5}), paired_difference({1: 0.7}, {2: 0.6})
    assert (one.mean, one.n) == (0.25, 1)
    assert np.isnan([one.std, one.low, one.high]).all()
    assert none.n == 0
    assert np.isnan([none.mean, none.std, none.low, none.high]).all()


@pytest.mark.parametrize("function", [permutation_p, bootstrap_p])
def test_nan_is_refused(function):
    with pytest.raises(ValueError, match="NaN or infinite"):
        function([0.1, math.nan, 0.2])
    with pytest.raises(ValueError, match="NaN or infinite"):
        paired_difference({1: math.nan}, {1: 0.5})


def naive_permutation_p(differences):
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(math.fsum(sign * value for sign, value in zip(pattern, differences, strict=True))) for pattern in signs]
    return sum(total >= sums[0] - 1e-12 for total in sums) / len(sums)


@pytest.mark.parametrize("n", range(1, 11))
def test_permutation_p_is_exact(n):
    differences = np.random.default_rng(n).normal(0.5, 1, n).round(1)  # rounded: with ties and zeros
    assert permutation_p(differences) == pytest.approx(naive_permutation_p(differences), **TIGHT)


def test_permutation_p_is_that_of_scipy():
    differences = np.random.default_rng(0).normal(0.4, 1, 9)
    expected = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert permutation_p(differences) == pytest.approx(expected.pvalue, **TIGHT)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 16])
def test_no_p_is_below_the_least(n):
    assert permutation_p(np.linspace(0.1, 0.2, n)) == least_p(n) == 2 / 2**n


def test_the_least_p_of_three_seeds_is_a_quarter_and_six_are_the_first_below_five_percent():
    assert least_p(3) == 0.25
    assert next(n for n in range(1, 10) if least_p(n) < 0.05) == 6
    assert np.isnan([least_p(0), permutation_p([])]).all()


def test_above_sixteen_seeds_random_patterns_stand_for_all(monkeypatch):
    differences = np.random.default_rng(3).normal(0.5, 1, 12)
    exact = permutation_p(differences)
    monkeypatch.setattr(paired, "EXACT_UP_TO", 11)
    assert permutation_p(differences, draws=20_000) == pytest.approx(exact, abs=0.01)
    assert permutation_p(np.full(12, 0.1), draws=9) in (1 / 10, 2 / 10)
    assert least_p(12, draws=9) == 1 / 10


def test_differences_of_zero_are_no_evidence():
    for n in (1, 3, EXACT_UP_TO, EXACT_UP_TO + 4):
        assert permutation_p(np.zeros(n)) == 1
    assert bootstrap_p(np.zeros(5)) == 1


def test_ties_that_rounding_splits_are_ties():
    assert permutation_p([0.3, -0.1, -0.2]) == permutation_p([3, -1, -2]) == 1
    assert permutation_p([0.1 + 0.2, 0.3, -0.3]) == permutation_p([3, 3, -3])


@pytest.mark.parametrize("n", [10, 20])
def test_permutation_keeps_its_level(n):
    samples = np.random.default_rng(1).normal(size=(1000, n))
    rejected = np.mean([permutation_p(sample, draws=499, seed=i) <= 0.05 for i, sample in enumerate(samples)])
    assert rejected == pytest.approx(0.05, abs=0.02)


def test_bootstrap_over_two_seeds_in_closed_form():
    assert bootstrap_p([-0.1, 0.3], draws=4000) == pytest.approx(0.5, abs=0.05)
    assert bootstrap_p([0.1, 0.3], draws=4000) == 2 / 4001


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.02, 0.03])
def test_bootstrap_p_is_that_of_scipys_resamples(shift):
    differences, rng = np.random.default_rng(5).normal(shift, 0.05, 15), np.random.default_rng(0)
    drawn = stats.bootstrap((differences,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
    expected = 2 * min((drawn.bootstrap_distribution <= 0).mean(), (drawn.bootstrap_distribution >= 0).mean())
    found = bootstrap_p(differences, draws=20_000)
    assert found == pytest.approx(expected, abs=0.02)
    low, high = drawn.confidence_interval
    assert (found < 0.05) == (not low <= 0 <= high)


def test_bootstrap_of_three_seeds_is_as_liberal_as_its_docstring_says():
    samples = np.random.default_rng(0).normal(size=(400, 3))
    rejected = [bootstrap_p(sample, draws=1999, seed=i) < 0.05 for i, sample in enumerate(samples)]
    agree = [abs(np.sign(sample).sum()) == 3 for sample in samples]
    assert rejected == agree


@pytest.mark.parametrize("differences", [[], [0.1]])
def test_no_bootstrap_below_two_seeds(differences):
    assert math.isnan(bootstrap_p(differences))


def test_probability_of_improvement_is_mann_whitneys():
    a, b = np.random.default_rng(0).integers(0, 6, (2, 9)) / 10
    expected = stats.mannwhitneyu(a, b[:7]).statistic / 63
    assert probability_of_improvement(a, b[:7]) == pytest.approx(expected, **TIGHT)


def test_probability_of_improvement_at_its_edges():
    assert probability_of_improvement([2, 3], [0, 1]) == 1
    assert probability_of_improvement([1, 1], [1, 1]) == 0.5
    assert probability_of_improvement([2], [1, 3]) == 0.5
    with pytest.raises(ValueError, match="both sides"):
        probability_of_improvement([], [0.5])


# over examples


@pytest.mark.parametrize("metric", WEIGHTED)
def test_bootstrap_examples_is_the_loop(metric):
    labels, a, b = run(metric, skill=0.2)
    found = bootstrap_examples(metric, labels, a, b, draws=25, seed=7)
    samples = np.random.default_rng(7).integers(EXAMPLES, size=(25, EXAMPLES))
    drawn = np.array([gap(metric, labels[sample], a[:, sample], b[:, sample]) for sample in samples])
    rarer = min((drawn <= 1e-12).sum(), (drawn >= -1e-12).sum())
    assert found.mean == pytest.approx(gap(metric, labels, a, b), **TIGHT)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), **TIGHT)
    assert found.p == min(1, 2 * (1 + rarer) / 26)


@pytest.mark.parametrize("metric", WEIGHTED)
def test_permutation_examples_is_all_swaps(metric):
    labels, a, b = run(metric, examples=5, skill=0.3, seed=5)
    observed, swaps = abs(gap(metric, labels, a, b)), np.array(list(itertools.product((False, True), repeat=5)))
    gaps = [gap(metric, labels, np.where(swap, b, a), np.where(swap, a, b)) for swap in swaps]
    exact = np.mean(np.abs(gaps) >= observed - 1e-9)
    assert permutation_examples(metric, labels, a, b, draws=5000) == pytest.approx(exact, abs=0.03)


def test_permutation_of_accuracy_is_the_sign_test_of_the_examples_that_differ():
    labels, (a,), (b,) = run("accuracy", seeds=1, examples=200, skill=0.1, seed=2)  # without the axis of seeds
    better, worse = (int(((x == labels) & (y != labels)).sum()) for x, y in ((a, b), (b, a)))
    expected = stats.binomtest(better, better + worse).pvalue
    assert permutation_examples("accuracy", labels, a, b, draws=5000) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "pearson"])
def test_tests_over_examples_keep_their_level(metric):
    found = [run(metric, examples=60, seed=seed) for seed in range(200)]
    bootstrapped = np.mean([bootstrap_examples(metric, *data, draws=199).p <= 0.05 for data in found])
    permuted = np.mean([permutation_examples(metric, *data, draws=199) <= 0.05 for data in found])
    assert (bootstrapped, permuted) == pytest.approx((0.05, 0.05), abs=0.045)


@pytest.mark.parametrize("metric", WEIGHTED)
def test_a_method_does_not_differ_from_itself_and_swapping_turns_the_sign(metric):
    labels, a, b = run(metric, skill=0.2)
    assert bootstrap_examples(metric, labels, a, a, draws=50) == (0, 0, 0, 1)
    assert permutation_examples(metric, labels, a, a, draws=50) == 1
    there, back = bootstrap_examples(metric, labels, a, b), bootstrap_examples(metric, labels, b, a)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert there.p == back.p
    assert permutation_examples(metric, labels, a, b) == permutation_examples(metric, labels, b, a)


def test_a_collapsed_run_has_no_correlation_and_no_p():
    labels, a, b = run("pearson")
    b[1] = 2.5
    assert np.isnan(bootstrap_examples("pearson", labels, a, b)).all()
    assert math.isnan(permutation_examples("pearson", labels, a[1:], np.full((1, EXAMPLES), 2.5)))


def test_the_draws_do_not_hang_on_how_many_are_taken_at_a_time(monkeypatch):
    labels, a, b = run("spearman")
    whole = bootstrap_examples("spearman", labels, a, b, 99), permutation_examples("spearman", labels, a, b, 99)
    monkeypatch.setattr(paired, "_CELLS", 3 * EXAMPLES)
    parts = bootstrap_examples("spearman", labels, a, b, 99), permutation_examples("spearman", labels, a, b, 99)
    assert parts[0] == pytest.approx(whole[0], **TIGHT)
    assert parts[1] == whole[1]


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    labels, a, b = run("matthews", skill=0.1)
    many = np.random.default_rng(0).normal(0.3, 1, 20)
    for function, given in (
        (permutation_p, (many,)),
        (bootstrap_p, (many,)),
        (bootstrap_examples, ("matthews", labels, a, b)),
        (permutation_examples, ("matthews", labels, a, b)),
    ):
        first, again, other = (function(*given, draws=500, seed=seed) for seed in (4, 4, 5))
        assert first == again
        assert first != other


@pytest.mark.parametrize(
    ("metric", "labels", "a", "b", "message"),
    [
        ("bleu", [0, 1], [0, 1], [0, 1], "no metric 'bleu'; there are accuracy"),
        ("accuracy", [0, 1], [0, 1], [0, 1, 1], "predictions of shapes"),
        ("accuracy", [0, 1, 1], [0, 1], [0, 1], "predictions of shapes"),
        ("accuracy", [0, 1], [[0, 1]], [[0, 1], [0, 1]], "predictions of shapes"),
        ("accuracy", [], [], [], "predictions of shapes"),
        ("pearson", [0, 1], [0, math.nan], [0, 1], "NaN or infinite"),
        ("pearson", [0, math.inf], [0, 1], [0, 1], "NaN or infinite"),
        ("f1", [0, 2], [0, 1], [0, 1], "class 1"),
        ("accuracy_f1", [0, 1], [0, 1], [0, 2], "class 1"),
    ],
)
@pytest.mark.parametrize("function", [bootstrap_examples, permutation_examples])
def test_what_cannot_be_compared_is_refused(function, metric, labels, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(metric, labels, a, b)
