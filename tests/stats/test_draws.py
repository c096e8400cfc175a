"""What permutation and bootstrap tests have in common."""

import math
from functools import partial

import numpy as np
import pytest

from hype_bench.stats import draws
from hype_bench.stats.bootstrap import bootstrap_examples, bootstrap_p
from hype_bench.stats.paired import paired_difference
from hype_bench.stats.permutation import EXACT_UP_TO, permutation_examples, permutation_p
from hype_bench.stats.resampled import WEIGHTED
from tests.stats.runs import EXAMPLES, run

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("function", [permutation_p, bootstrap_p])
def test_nan_is_refused(function):
    with pytest.raises(ValueError, match="NaN or infinite"):
        function([0.1, math.nan, 0.2])
    with pytest.raises(ValueError, match="NaN or infinite"):
        paired_difference({1: math.nan}, {1: 0.5})


def test_differences_of_zero_are_no_evidence():
    for n in (1, 3, EXACT_UP_TO, EXACT_UP_TO + 4):
        assert permutation_p(np.zeros(n)) == 1
    assert bootstrap_p(np.zeros(5)) == 1


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "pearson"])
def test_tests_over_examples_keep_their_level(metric):
    data_sets = [run(metric, examples=60, seed=seed) for seed in range(200)]
    bootstrapped = np.mean([bootstrap_examples(metric, *data, draws=199).p <= 0.05 for data in data_sets])
    permuted = np.mean([permutation_examples(metric, *data, draws=199) <= 0.05 for data in data_sets])
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


@pytest.mark.parametrize("function", [bootstrap_examples, permutation_examples])
def test_whole_numbers_of_few_bits_are_scored_as_numbers(function):
    labels, a, b = (np.clip(values, 0, 5).astype(np.uint8) for values in run("pearson", skill=1.5))
    expected = function("pearson", *(values.astype(float) for values in (labels, a, b)), draws=50)
    assert function("pearson", labels, a, b, draws=50) == expected


def test_tables_use_the_first_thousand_draws_of_seed_0():
    labels, a, b = run("accuracy", skill=0.1)
    for over_examples in (bootstrap_examples, permutation_examples):
        assert over_examples("accuracy", labels, a, b) == over_examples("accuracy", labels, a, b, draws=1000, seed=0)
    many = np.random.default_rng(0).normal(0.3, 1, 20)
    for over_seeds in (bootstrap_p, permutation_p):
        assert over_seeds(many) == over_seeds(many, seed=0)


def test_the_last_batch_has_the_rest_and_none_is_empty():
    assert list(draws.batches(10, draws._CELLS // 3)) == [3, 3, 3, 1]
    assert list(draws.batches(2, 2 * draws._CELLS)) == [1, 1]


def test_a_collapsed_run_has_no_correlation_and_no_p():
    labels, a, b = run("pearson")
    b[1] = 2.5
    assert np.isnan(bootstrap_examples("pearson", labels, a, b)).all()
    assert math.isnan(permutation_examples("pearson", labels, a[1:], np.full((1, EXAMPLES), 2.5)))


def test_the_draws_do_not_hang_on_how_many_are_taken_at_a_time(monkeypatch):
    labels, a, b = run("spearman")
    whole = bootstrap_examples("spearman", labels, a, b, 99), permutation_examples("spearman", labels, a, b, 99)
    monkeypatch.setattr(draws, "_CELLS", 3 * EXAMPLES)
    parts = bootstrap_examples("spearman", labels, a, b, 99), permutation_examples("spearman", labels, a, b, 99)
    assert parts[0] == tight(whole[0])
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
        ("bleu", [0, 1], [0, 1], [0, 1], "no metric 'bleu'; there are accuracy, f1"),
        ("accuracy", [0, 1], [0, 1], [0, 1, 1], "predictions of shapes"),
        ("accuracy", [0, 1, 1], [0, 1], [0, 1], "predictions of shapes"),
        ("accuracy", [0, 1], [[0, 1]], [[0, 1], [0, 1]], "predictions of shapes"),
        ("accuracy", [], [], [], "predictions of shapes"),
        ("pearson", [0, 1], [0, math.nan], [0, 1], "^a label or a prediction is NaN or infinite"),
        ("pearson", [0, math.inf], [0, 1], [0, 1], "^a label or a prediction is NaN or infinite"),
        ("f1", [0, 2], [0, 1], [0, 1], "^F1 is that of class 1"),
        ("accuracy_f1", [0, 1], [0, 1], [0, 2], "^F1 is that of class 1"),
    ],
)
@pytest.mark.parametrize("function", [bootstrap_examples, permutation_examples])
def test_what_cannot_be_compared_is_refused(function, metric, labels, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(metric, labels, a, b)
