"""The test over seeds and examples: in closed form, at its limits, and its level by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from hype_bench.stats.crossed import crossed_difference
from hype_bench.stats.influence import example_values
from tests.stats.runs import run


def test_without_an_effect_of_examples_it_is_the_paired_t_test():
    """Rows of random numbers centred by column: no example is better than another over the seeds."""
    differences = np.random.default_rng(0).normal(size=(5, 40))
    differences += np.array([0.1, 0.3, 0.2, 0.5, 0.4])[:, None] - differences.mean(axis=0)
    result, expected = crossed_difference(differences), stats.ttest_1samp(differences.mean(axis=1), 0)
    assert (result.from_examples, result.freedom) == (0, 4)
    assert result.p == pytest.approx(expected.pvalue)
    assert result.interval() == pytest.approx(tuple(expected.confidence_interval()))


def test_where_seeds_agree_on_every_example_it_is_the_t_test_over_examples_with_the_same_error():
    of_examples = np.random.default_rng(0).normal(0.3, 1, 30)
    result = crossed_difference(np.stack([of_examples] * 3))
    expected = stats.ttest_1samp(of_examples, 0)
    assert result.p == pytest.approx(expected.pvalue)
    assert [result.from_seeds, result.freedom] == pytest.approx([0, 29])


def test_mean_squares_and_degrees_of_freedom_by_hand():
    """Row means 3 and 5, column means 2, 3.5 and 6.5; of the squares around 4, 28 in all, 6 are between the seeds, 21
    between the examples and 1 is left: mean squares 6, 10.5 and 0.5."""
    result = crossed_difference(np.array([[1.0, 2, 6], [3, 5, 7]]))
    assert (result.mean, result.from_seeds, result.from_examples) == pytest.approx((4, 1, math.sqrt(10 / 6)))
    assert result.error == pytest.approx(math.sqrt(16 / 6))
    assert result.freedom == pytest.approx(16**2 / (6**2 + 10.5**2 / 2 + 0.5**2 / 2))


def test_no_part_of_a_variance_is_negative():
    """Squares 6, 12 and 16: mean squares 6, 6 and 8."""
    result = crossed_difference(np.array([[1.0, 2, 6], [3, 8, 4]]))
    assert (result.mean, result.from_seeds, result.from_examples, result.freedom) == pytest.approx((4, 1, 0, 1))


def test_equal_scores_of_few_seeds_are_no_absence_of_spread():
    """Each seed wins one example of four and loses none: the scores agree, the examples do not."""
    result = crossed_difference(np.eye(4)[:2])
    assert result.from_seeds > 0
    assert result.p > 0.05
    same = crossed_difference(np.full((2, 4), 0.5))  # nothing differs at all
    assert (same.p, same.interval()) == (0, (0.5, 0.5))
    assert crossed_difference(np.zeros((2, 4))).p == 1


def test_one_seed_has_a_mean_and_no_test():
    result = crossed_difference(np.array([[1.0, 0, 0, 1]]))
    assert result.mean == 0.5
    assert np.isnan([result.p, *result.interval(), result.error]).all()
    assert math.isnan(crossed_difference(np.full((3, 4), math.nan)).p)
    with pytest.raises(ValueError, match="two examples or more"):
        crossed_difference(np.ones((3, 1)))


def rejections(seeds, examples, draws, metric="accuracy", spread=0.1, per_example=0.0):
    """How often two techniques of the same mean score are called different.

    ``spread``: of the runs' skill, in probits; ``per_example``: that of the techniques' own skill on single examples.
    """
    rng, rejected = np.random.default_rng(examples + seeds), 0
    for _ in range(draws):
        difficulty = 0.8 + rng.standard_normal(examples, dtype=np.float32)
        own = per_example * rng.standard_normal((2, 1, examples), dtype=np.float32)
        skill = spread * rng.standard_normal((2, seeds, 1), dtype=np.float32)
        right = difficulty + own + skill + rng.standard_normal((2, seeds, examples), dtype=np.float32) > 0
        if metric == "accuracy":
            differences = right[0] - right[1].astype(np.float64)
        else:
            labels = (rng.random(examples) < 0.4).astype(np.float64)
            a, b = (example_values(metric, labels, np.where(side, labels, 1 - labels)) for side in right)
            differences = a - b
        rejected += crossed_difference(differences).p < 0.05
    return rejected / draws


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_identical_techniques_are_called_different_in_one_case_of_twenty(seeds):
    assert 0.03 <= rejections(seeds, 277, draws=1000) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
@pytest.mark.parametrize("examples", [277, 1043, 5463])
def test_the_level_holds_with_many_examples(seeds, examples):
    assert 0.03 <= rejections(seeds, examples, draws=2000) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["f1", "matthews"])
def test_the_level_holds_for_scores_that_are_no_means(metric):
    assert 0.03 <= rejections(3, 408, draws=1000, metric=metric) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 10])
def test_techniques_that_are_good_at_other_examples_are_no_better(seeds):
    """Equal on average over all examples, not on those of the dev set: a test over seeds alone fails here."""
    assert 0.03 <= rejections(seeds, 1043, draws=1000, spread=0.05, per_example=0.5) <= 0.08


def test_a_better_technique_is_told_from_another_with_three_seeds():
    labels, a, b = run("accuracy", seeds=3, examples=1000, skill=0.1)
    values = [example_values("accuracy", labels.astype(float), side.astype(float)) for side in (a, b)]
    result = crossed_difference(values[0] - values[1])
    assert result.p < 0.05
    assert result.interval()[0] > 0
