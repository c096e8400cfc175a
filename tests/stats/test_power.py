"""What seeds can show: tables of power, the noncentral t of scipy.stats, and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.crossed import difference_over_seeds
from hype_bench.stats.power import detectable, seeds_needed


@pytest.mark.parametrize("n", [3, 5, 10, 20, 1000])
def test_four_of_five_tests_find_the_detectable_difference(n):
    least = float(detectable(1 / math.sqrt(n), n - 1))
    critical, noncentrality = stats.t.ppf(0.975, n - 1), least * math.sqrt(n)
    power = stats.nct.sf(critical, n - 1, noncentrality) + stats.nct.cdf(-critical, n - 1, noncentrality)
    assert power == pytest.approx(0.8, abs=1e-3)


def test_power_by_simulation():
    samples = np.random.default_rng(0).normal(float(detectable(1 / math.sqrt(5), 4)), 1, size=(500, 5))
    assert np.mean([difference_over_seeds(sample).p < 0.05 for sample in samples]) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("difference", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10), (0.2, 199)])
def test_seeds_needed_are_those_of_the_tables(difference, seeds):
    """Paired t test, two-sided, 5 %, power 80 %: Cohen 1988 and G*Power."""
    assert seeds_needed(1.0, difference) == seeds


def test_no_number_of_seeds_makes_up_for_few_examples():
    assert seeds_needed(1.0, 0.5, from_examples=0.1, examples=277) > seeds_needed(1.0, 0.5)
    assert seeds_needed(1.0, 0.5, from_examples=0.2, examples=277) == math.inf
    assert seeds_needed(1.0, 0.01) == math.inf


def test_without_a_spread_there_is_nothing_to_measure_by():
    assert math.isnan(seeds_needed(math.nan, 0.5))
    assert seeds_needed(0.0, 0.5) == 2
