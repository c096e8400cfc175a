"""What separates methods: the published numbers come out, luck is what chance gives, and the test holds its level."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.signal import (
    NOT_COMPUTABLE,
    decision_accuracy,
    expected_range,
    one_seed_decides,
    paired_separation,
    relative_noise,
    relative_signal,
    separation,
)

tight = partial(pytest.approx, rel=1e-9, abs=1e-9)
SCORES = np.array(
    [
        [0.7236, 0.7287, 0.7121, 0.7117, 0.7125],
        [0.6546, 0.6438, 0.6413, 0.6544, 0.6398],
        [0.6773, 0.6825, 0.6777, 0.6895, 0.6941],
        [0.7069, 0.7304, 0.7138, 0.7234, 0.7291],
    ]
)


def test_the_published_code_gives_the_same(parity):
    published = parity("signal_and_noise")
    scores = np.array(published["scores"])
    means = scores.mean(axis=1)
    signal, noises = relative_signal(means), [relative_noise(of_method) for of_method in scores]
    assert signal == tight(published["signal"])
    assert [signal / noise for noise in noises] == tight(published["per_method"])
    assert np.mean(noises) == tight(published["mean_relative_noise"])
    assert signal / np.mean(noises) == tight(published["snr_with_mean_noise"])
    assert signal / relative_noise(scores.ravel()) == tight(published["released_pooled"])
    assert decision_accuracy(means, published["other_setting"]) == tight(published["decision_accuracy"])


def test_noise_and_p_are_those_of_the_analysis_of_variance():
    result = separation(SCORES)
    assert result.noise == tight(math.sqrt(SCORES.var(axis=1, ddof=1).mean()))
    assert result.signal == tight(np.ptp(SCORES.mean(axis=1)))
    assert result.p == pytest.approx(stats.tukey_hsd(*SCORES).pvalue.min(), abs=1e-6)


def test_two_paired_methods_are_those_of_the_paired_t_test():
    result = paired_separation(SCORES[:2])
    differences = SCORES[0] - SCORES[1]
    assert result.noise == tight(differences.std(ddof=1) / math.sqrt(2))
    assert result.p == pytest.approx(stats.ttest_rel(*SCORES[:2]).pvalue, rel=1e-3)


def test_what_a_seed_does_to_all_methods_is_no_noise_of_pairs():
    shifted = SCORES + np.array([0.0, 0.2, -0.1, 0.3, 0.1])
    assert paired_separation(shifted).noise == tight(paired_separation(SCORES).noise)
    assert separation(shifted).noise > 10 * separation(SCORES).noise


@pytest.mark.parametrize(("n", "width"), [(2, 2 / math.sqrt(math.pi)), (3, 3 / math.sqrt(math.pi)), (10, 3.077505)])
def test_the_expected_range_of_normals(n, width):
    assert expected_range(n) == pytest.approx(width, abs=1e-6)


def test_of_equal_methods_the_ratio_is_luck_and_rarely_significant():
    draws = np.random.default_rng(0).normal(size=(500, 6, 4))
    for results in ([separation(draw) for draw in draws], [paired_separation(draw + draw[0]) for draw in draws]):
        assert np.mean([result.signal for result in results]) == pytest.approx(results[0].luck, rel=0.05)
        bound = stats.studentized_range.ppf(0.95, 6, results[0].freedom) / 2  # ratio sqrt(4) above it: p < 0.05
        assert 0.03 <= np.mean([result.ratio > bound for result in results]) <= 0.07


def test_methods_may_have_different_numbers_of_seeds():
    result = separation([SCORES[0], SCORES[1, :3], SCORES[2, :1]])
    noise = (4 * SCORES[0].var(ddof=1) + 2 * SCORES[1, :3].var(ddof=1)) / 6
    assert result.noise == tight(math.sqrt(noise))
    assert result.luck == tight(expected_range(3) / math.sqrt(3 / (1 / 5 + 1 / 3 + 1)))


def test_without_noise_any_difference_is_one_and_none_is_none():
    apart, equal = separation([[0.1] * 3, [0.2] * 3]), separation([[0.1] * 3, [0.1] * 3])
    assert (apart.ratio, apart.p) == (math.inf, 0)
    assert math.isnan(equal.ratio)
    assert equal.p == 1
    assert paired_separation([[0.1] * 3, [0.3] * 3]).ratio == math.inf
    assert paired_separation([[0.1] * 3] * 2).p == 1


@pytest.mark.parametrize("scores", [[[0.1, 0.2]], [[0.1], [0.2]], []])
def test_one_method_or_one_seed_has_no_ratio(scores):
    assert separation(scores) == NOT_COMPUTABLE


def test_pairs_need_two_of_each_and_scores_must_be_there():
    assert paired_separation([[0.1, 0.2]]) == NOT_COMPUTABLE
    assert paired_separation([[0.1], [0.2]]) == NOT_COMPUTABLE
    with pytest.raises(ValueError, match="without a score"):
        separation([[0.1, 0.2], []])
    with pytest.raises(ValueError, match="NaN or infinite"):
        paired_separation([[0.1, math.nan], [0.1, 0.2]])


def test_one_seed_decides_as_the_others_do():
    assert one_seed_decides([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]) == 1
    assert one_seed_decides([[1.0, 0.0], [0.0, 1.0]]) == 0
    assert math.isnan(one_seed_decides([[1.0], [0.0]]))
    assert math.isnan(decision_accuracy([1.0], [1.0]))
