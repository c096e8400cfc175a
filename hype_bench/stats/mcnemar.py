"""Do two classifiers differ on these examples? The exact test of those on which one is right and the other wrong."""

from __future__ import annotations


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided p; ``only_a``, ``only_b``: on how many examples one alone is right. 1 if there is none.

    About these two runs on other examples, not about other seeds. ValueError if a number is negative (McNemar 1947,
    "Note on the sampling error of the difference between correlated proportions or percentages"; exact, binomial).
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"numbers of examples: {only_a} and {only_b}")
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
