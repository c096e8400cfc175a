"""Does it help? One of four words about a technique and its control on a task, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from numpy.typing import ArrayLike

from hype_bench.stats.crossed import Crossed
from hype_bench.stats.means import Vector
from hype_bench.stats.multiple import holm
from hype_bench.stats.power import detectable, seeds_needed

HELPS, HURTS, NO_DIFFERENCE, UNDECIDED = "helps", "hurts", "no difference", "undecided"
HIGHER, LOWER = "higher", "lower"  # of what has no better direction
LEVEL = 0.05
MARGIN = 0.005  # of a score as a fraction: half a point


@dataclass(frozen=True)
class Verdict:
    """``word``: one of the four, or higher, lower or undecided in units without a margin; ``no difference``: none
    beyond the margin.

    ``p``: that the true difference is 0; ``p_equivalent``: that it lies beyond the margin, by two one-sided tests; both
    adjusted for the other comparisons of the family. ``detectable``: the smallest true difference that so many seeds
    find in 80 % of the cases; ``more_seeds``: how many more would find one of the margin, infinite if the examples are
    too few for that. NaN where there is no such number.
    """

    word: str
    difference: Crossed
    p: float
    p_equivalent: float
    detectable: float
    more_seeds: float


def verdicts(
    family: Sequence[Crossed], margin: float = MARGIN, correction: Callable[[ArrayLike], Vector] = holm
) -> list[Verdict]:
    """A verdict on each comparison of a family: those that answer one question together.

    The difference is tested against 0 and, by two one-sided tests (Schuirmann 1987, "A comparison of the two one-sided
    tests procedure and the power approach", J. Pharmacokinetics and Biopharmaceutics 15), against the margin. One that
    is shown to lie within the margin is no difference, even if it is shown not to be 0 either. ValueError if the margin
    is negative.
    """
    if not margin >= 0:
        raise ValueError(f"a margin is 0 or more, not {margin}")
    p_values = correction([difference.p for difference in family]).tolist()
    equivalent = correction([difference.p_equivalent(margin) for difference in family]).tolist()
    return [_verdict(*of_one, margin) for of_one in zip(family, p_values, equivalent, strict=True)]


def without_margin(verdict: Verdict) -> Verdict:
    """On what has units of its own: no margin is known for them, and no direction in which they are better."""
    higher_or_lower = HIGHER if verdict.difference.mean > 0 else LOWER
    return replace(verdict, word=higher_or_lower if verdict.p < LEVEL else UNDECIDED, more_seeds=math.nan)


def _verdict(difference: Crossed, p: float, p_equivalent: float, margin: float) -> Verdict:
    word = UNDECIDED
    if p_equivalent < LEVEL:
        word = NO_DIFFERENCE
    elif p < LEVEL:
        word = HELPS if difference.mean > 0 else HURTS
    std = difference.from_seeds * math.sqrt(difference.seeds)
    needed = seeds_needed(std, margin, difference.from_examples, difference.examples)
    least = float(detectable(difference.error, difference.freedom))
    return Verdict(word, difference, p, p_equivalent, least, max(needed - difference.seeds, 0.0))
