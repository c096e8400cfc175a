"""Intruder dimensions against the numbers of the published code."""

import numpy as np
import pytest

from hype_bench.stats.directions import intruders, leading_directions, stable_rank


@pytest.mark.parametrize("name", ["full_like", "low_rank_like"])
def test_cosines_and_counts_are_those_of_the_published_code(name, parity):
    numbers = parity("intruder_dimensions")
    start, case = np.array(numbers["pretrained"]), numbers[name]
    end = np.array(case["tuned"])
    directions = leading_directions(start, end, 10)
    np.testing.assert_allclose(directions.cosines, case["max_abs_cosine"], rtol=0, atol=1e-10)
    assert (np.diff(directions.values) <= 0).all()
    for counted in case["counts"]:
        cosines = leading_directions(start, end, counted["k"]).cosines
        assert (cosines < counted["threshold"]).sum() == counted["count"]


@pytest.mark.parametrize("number", range(3))
def test_intruders_are_scaled_as_peft_does(number, parity):
    """peft cuts the change to LoRA's rank afterwards, and so does this test."""
    numbers = parity("intruder_dimensions")
    about = numbers["mitigation"]
    start, case = np.array(numbers["pretrained"]), about["cases"][number]
    end = start + np.array(about["delta_before"])
    part, count = intruders(start, end, about["top_k"], about["threshold"])
    u, values, v = np.linalg.svd(end + (case["mitigation_lambda"] - 1) * part - start)
    rank = about["rank"]
    cut = (u[:, :rank] * values[:rank]) @ v[:rank]
    np.testing.assert_allclose(cut, case["delta_after"], rtol=0, atol=1e-10)
    assert count > 0


def test_the_stable_rank():
    assert stable_rank(np.eye(4)) == pytest.approx(4)
    assert stable_rank(np.outer([1.0, 2.0], [3.0, 4.0])) == pytest.approx(1)
    assert np.isnan(stable_rank(np.zeros((2, 2))))
