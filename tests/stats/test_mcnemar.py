"""McNemar's exact test is that of a fair coin."""

import math

import pytest

from hype_bench.stats.mcnemar import mcnemar_p


@pytest.mark.parametrize(("only_a", "only_b"), [(9, 2), (2, 9), (5, 5), (0, 6)])
def test_it_is_twice_the_tail_of_a_fair_coin(only_a, only_b):
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert mcnemar_p(only_a, only_b) == pytest.approx(min(1, 2 * tail))


def test_without_an_example_that_differs_nothing_does():
    assert mcnemar_p(0, 0) == 1
    with pytest.raises(ValueError, match="numbers of examples"):
        mcnemar_p(-1, 2)
