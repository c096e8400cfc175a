"""Bootstrap tests equal scipy and naive loops."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.bootstrap import bootstrap_p, multi_bootstrap
from hype_bench.stats.crossed import crossed_difference
from hype_bench.stats.influence import example_values
from hype_bench.stats.resampled import WEIGHTED
from tests.stats.runs import EXAMPLES, run, score_gap

tight = partial(pytest.approx, rel=1e-12, abs=1e-12)


def test_bootstrap_over_two_seeds_in_closed_form():
    assert bootstrap_p([-0.1, 0.3], draws=4000) == pytest.approx(0.5, abs=0.05)
    assert bootstrap_p([0.1, 0.3], draws=4000) == 2 / 4001


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.02, 0.03])
def test_bootstrap_p_is_that_of_scipys_resamples(shift):
    differences, rng = np.random.default_rng(5).normal(shift, 0.05, 15), np.random.default_rng(0)
    drawn = stats.bootstrap((differences,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
    expected = 2 * min((drawn.bootstrap_distribution <= 0).mean(), (drawn.bootstrap_distribution >= 0).mean())
    result = bootstrap_p(differences, draws=20_000)
    assert result == pytest.approx(expected, abs=0.02)
    low, high = drawn.confidence_interval
    assert (result < 0.05) == (not low <= 0 <= high)


def test_bootstrap_of_three_seeds_is_as_liberal_as_its_docstring_says():
    samples = np.random.default_rng(0).normal(size=(400, 3))
    rejected = [bootstrap_p(sample, draws=1999, seed=i) < 0.05 for i, sample in enumerate(samples)]
    agree = [abs(np.sign(sample).sum()) == 3 for sample in samples]
    assert rejected == agree


@pytest.mark.parametrize("differences", [[], [0.1]])
def test_no_bootstrap_below_two_seeds(differences):
    assert math.isnan(bootstrap_p(differences))


@pytest.mark.parametrize("metric", WEIGHTED)
def test_multi_bootstrap_is_the_loop(metric):
    labels, a, b = run(metric, seeds=3, skill=0.2)
    result = multi_bootstrap(metric, labels, a, b, draws=25, seed=7)
    rng = np.random.default_rng(7)
    seeds, examples = (rng.integers(n, size=(25, n)) for n in (3, EXAMPLES))
    drawn = np.array(
        [
            score_gap(metric, labels[sample], a[np.ix_(runs, sample)], b[np.ix_(runs, sample)])
            for runs, sample in zip(seeds, examples, strict=True)
        ]
    )
    rarer = min((drawn <= 1e-12).sum(), (drawn >= -1e-12).sum())
    assert result.mean == tight(score_gap(metric, labels, a, b))
    assert (result.low, result.high) == tight(np.quantile(drawn, [0.025, 0.975]))
    assert result.p == min(1, 2 * (1 + rarer) / 26)


def test_multi_bootstrap_counts_the_rest_three_times():
    """Every answer here is drawn by itself: neither a seed nor an example has an effect of its own."""
    labels, a, b = run("accuracy", seeds=40, examples=300, skill=0.05, seed=3)
    result = multi_bootstrap("accuracy", labels, a, b)
    values = [example_values("accuracy", labels.astype(float), side.astype(float)) for side in (a, b)]
    low, high = crossed_difference(values[0] - values[1]).interval()
    assert (result.high - result.low) / (high - low) == pytest.approx(math.sqrt(3), rel=0.2)
