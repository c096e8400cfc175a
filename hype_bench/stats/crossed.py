"""Is technique a better than technique b on a task? A test that takes both for samples: the seeds and the examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.draws import ROUNDING
from hype_bench.stats.means import Floats, Interval, finite, mean_and_std, tails

_Differences = Float64[Floats, "seeds examples"]


@dataclass(frozen=True)
class Crossed:
    """a minus b over ``seeds`` x ``examples``, in units of the scores; NaN where there is no such number.

    ``mean``: the difference of the mean scores; ``error``: its standard error; ``from_seeds``, ``from_examples``: the
    parts of it whose squares add up, due to the seeds (the standard error over seeds, as in a paired t test) and due to
    the examples beyond that; ``freedom``: Satterthwaite's degrees of freedom.
    """

    mean: float
    from_seeds: float
    from_examples: float
    freedom: float
    seeds: int
    examples: int

    @property
    def error(self) -> float:
        return math.hypot(self.from_seeds, self.from_examples)

    @property
    def p(self) -> float:
        """Two-sided, that a new seed on a new example makes no difference on average."""
        return 2 * self.p_above(abs(self.mean))

    def p_equivalent(self, margin: float) -> float:
        """That the true difference lies beyond +- ``margin``: the greater p of two one-sided tests."""
        return max(self.p_above(margin - self.mean), self.p_above(margin + self.mean))

    def p_above(self, gap: float) -> float:
        """The probability of a mean ``gap`` above the true one, or more; without any spread 1 or 0."""
        from scipy.special import stdtr

        if math.isnan(self.error):
            return math.nan
        if self.error == 0:
            return float(gap < 0) + (gap == 0) / 2
        return float(stdtr(self.freedom, -gap / self.error))

    @property
    def untested(self) -> Crossed:
        """The mean alone, without an error to hold it against."""
        return replace(self, from_seeds=math.nan, from_examples=math.nan, freedom=math.nan)

    def interval(self, level: float = 0.95) -> Interval:
        """Contains the true mean difference in ``level`` of repeated experiments with new seeds and new examples."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.freedom, tails(level)[1])) * self.error if self.error else self.error
        return self.mean - half, self.mean + half


def crossed_difference(differences: _Differences) -> Crossed:
    """The mean of paired differences [seeds, examples], tested over seeds and examples at once.

    Every seed is one run of a and one of b, both scored on the same examples: a difference is that of the example's
    values (``example_values``) in the two runs. With mean squares MS of seeds, examples and rest, the squared standard
    error of the mean is (MS_seeds + max(0, MS_examples - MS_rest)) / (seeds x examples), and its degrees of freedom are
    Satterthwaite's. A test over examples of fixed runs calls identical techniques different in up to three of four
    cases, as it takes the luck of these runs for the technique; a test over seeds says nothing about other examples.
    ValueError if a difference is infinite or there are fewer than two examples; below two seeds only the mean is given.

    Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance Components", Biometrics Bulletin 2;
    Clark 1973, "The language-as-fixed-effect fallacy" (quasi-F for two crossed samples).
    """
    seeds, examples = differences.shape
    if examples < 2 or np.isinf(differences).any():
        raise ValueError("a crossed test needs finite differences of two examples or more")
    mean = float(differences.mean())
    if seeds < 2 or math.isnan(mean):
        return Crossed(mean, math.nan, math.nan, math.nan, seeds, examples)
    of_seeds, of_examples, of_rest = _mean_squares(differences)
    if of_seeds == 0:  # scores are multiples of 1 / examples: that a few seeds agree exactly is no absence of spread
        of_seeds = of_rest
    beyond = max(0.0, of_examples - of_rest)
    freedom = float(seeds - 1)
    if beyond:
        squares = of_seeds**2 + (of_examples**2 + of_rest**2 / (seeds - 1)) * (seeds - 1) / (examples - 1)
        freedom *= (of_seeds + beyond) ** 2 / squares
    from_seeds, from_examples = (math.sqrt(part / differences.size) for part in (of_seeds, beyond))
    return Crossed(mean, from_seeds, from_examples, freedom, seeds, examples)


def difference_over_seeds(differences: ArrayLike) -> Crossed:
    """The mean of paired differences of scores, one per seed, where nothing is known of the examples: a paired t test.

    Seeds that agree exactly in a difference show no spread that it could be held against: only the mean is given.
    ValueError if one is not finite.
    """
    values = finite(differences)
    mean, std = mean_and_std(values)
    n = len(values)
    from_seeds = std / math.sqrt(n) if n and (std or not mean) else math.nan
    return Crossed(mean, from_seeds, 0.0 * from_seeds, n - 1.0, n, 0)


def average_difference(differences: Sequence[Crossed]) -> Crossed:
    """The mean over tasks of their differences, each weighing the same; about these tasks, and not about others.

    The errors of different tasks are independent, and their squares add up; NaN if one of them is. ``seeds`` and
    ``examples`` are the least and the sum of the tasks'. ValueError without a task.
    """
    if not differences:
        raise ValueError("a mean over tasks needs one")
    n = len(differences)
    squares = np.array([[of.from_seeds**2, of.from_examples**2] for of in differences])
    errors = squares.sum(axis=1)
    freedoms = np.array([of.freedom for of in differences])
    freedom = float(errors.sum() ** 2 / (errors**2 / freedoms).sum()) if errors.any() else float(freedoms.sum())
    from_seeds, from_examples = (float(part) for part in np.sqrt(squares.sum(axis=0)) / n)
    mean = math.fsum(of.mean for of in differences) / n
    seeds, examples = min(of.seeds for of in differences), sum(of.examples for of in differences)
    return Crossed(mean, from_seeds, from_examples, freedom, seeds, examples)


def _mean_squares(differences: _Differences) -> tuple[float, float, float]:
    """Of seeds, of examples and of the rest, in a two-way analysis of variance with one value a cell."""
    seeds, examples = differences.shape
    shifted = differences - differences[0, 0]  # equal values become exactly 0
    of_seed, of_example, mean = shifted.mean(axis=1), shifted.mean(axis=0), shifted.mean()
    between_seeds = examples * float(((of_seed - mean) ** 2).sum())
    between_examples = seeds * float(((of_example - mean) ** 2).sum())
    rest = max(0.0, float(((shifted - mean) ** 2).sum()) - between_seeds - between_examples)
    squares = np.array([between_seeds, between_examples, rest])
    squares /= np.array([seeds - 1, examples - 1, (seeds - 1) * (examples - 1)])
    of_seeds, of_examples, of_rest = np.where(squares > ROUNDING * squares.max(), squares, 0).tolist()
    return of_seeds, of_examples, of_rest
