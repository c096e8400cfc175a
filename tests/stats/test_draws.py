"""What permutation and bootstrap tests have in common."""

import math
from functools import partial

import numpy as np
import pytest

from hype_bench.stats import draws
from hype_bench.stats.bootstrap import bootstrap_p, multi_bootstrap
from hype_bench.stats.paired import paired_difference
from hype_bench.stats.permutation import EXACT_UP_TO, permutation_p
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


@pytest.mark.parametrize("metric", WEIGHTED)
def test_a_method_does_not_differ_from_itself_and_swapping_turns_the_sign(metric):
    labels, a, b = run(metric, skill=0.2)
    assert multi_bootstrap(metric, labels, a, a, draws=50) == (0, 0, 0, 1)
    there, back = multi_bootstrap(metric, labels, a, b), multi_bootstrap(metric, labels, b, a)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert there.p == back.p


def test_whole_numbers_of_few_bits_are_scored_as_numbers():
    labels, a, b = (np.clip(values, 0, 5).astype(np.uint8) for values in run("pearson", skill=1.5))
    expected = multi_bootstrap("pearson", *(values.astype(float) for values in (labels, a, b)), draws=50)
    assert multi_bootstrap("pearson", labels, a, b, draws=50) == expected


def test_tables_use_the_first_thousand_draws_of_seed_0():
    labels, a, b = run("accuracy", skill=0.1)
    expected = multi_bootstrap("accuracy", labels, a, b, draws=1000, seed=0)
    assert multi_bootstrap("accuracy", labels, a, b) == expected
    many = np.random.default_rng(0).normal(0.3, 1, EXACT_UP_TO + 4)
    for over_seeds in (bootstrap_p, permutation_p):
        assert over_seeds(many) == over_seeds(many, seed=0)


def test_the_last_batch_has_the_rest_and_none_is_empty():
    assert list(draws.batches(10, draws._CELLS // 3)) == [3, 3, 3, 1]
    assert list(draws.batches(2, 2 * draws._CELLS)) == [1, 1]


def test_a_collapsed_run_has_no_correlation_and_no_p():
    labels, a, b = run("pearson")
    b[1] = 2.5
    assert np.isnan(multi_bootstrap("pearson", labels, a, b)).all()


def test_the_draws_do_not_hang_on_how_many_are_taken_at_a_time(monkeypatch):
    labels, a, b = run("spearman")
    whole = multi_bootstrap("spearman", labels, a, b, 99)
    monkeypatch.setattr(draws, "_CELLS", 3 * EXAMPLES)
    assert multi_bootstrap("spearman", labels, a, b, 99) == tight(whole)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    labels, a, b = run("matthews", skill=0.1)
    many = np.random.default_rng(0).normal(0.3, 1, EXACT_UP_TO + 4)
    for function, given in (
        (permutation_p, (many,)),
        (bootstrap_p, (many,)),
        (multi_bootstrap, ("matthews", labels, a, b)),
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
def test_what_cannot_be_compared_is_refused(metric, labels, a, b, message):
    with pytest.raises(ValueError, match=message):
        multi_bootstrap(metric, labels, a, b)
