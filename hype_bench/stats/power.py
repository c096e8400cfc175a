"""Which difference so many seeds can show, and how many seeds a difference needs.

From the measured spread of paired differences: Card et al. 2020, "With Little Power Comes Great Responsibility"
(EMNLP, arXiv:2010.06595). The spread of few seeds is itself uncertain, and so is what follows from it.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from hype_bench.stats.means import Floats

POWER = 0.8
MOST_SEEDS = 1000
_Numbers = Float64[Floats, "..."]


def detectable(error: ArrayLike, freedom: ArrayLike, level: float = 0.05) -> _Numbers:
    """The smallest true difference that a two-sided t test at ``level`` finds in ``POWER`` of the experiments.

    Args:
        error: the standard error of the difference.
        freedom: its degrees of freedom.
    """
    from scipy.special import nctdtrinc, stdtrit

    noncentrality = nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 1 - level / 2))
    return np.asarray(noncentrality * np.asarray(error))


def seeds_needed(std: float, difference: float, from_examples: float = 0.0, examples: float = math.inf) -> float:
    """How many seeds make ``difference`` detectable: the least number from two on, infinite above ``MOST_SEEDS``.

    Infinite also where the examples alone leave more uncertainty than that: only more of them would help. NaN without
    a spread to measure by.

    Args:
        std: of the paired differences over seeds (n - 1).
        from_examples: the part of the standard error that no seed removes, as in ``Crossed``.
        examples: how many that part was measured on.
    """
    if math.isnan(std + from_examples):
        return math.nan
    if not std + from_examples:
        return 2.0
    for seeds in np.split(np.arange(2, MOST_SEEDS + 1), (30, 100, 300)):  # most need few, and a quantile takes long
        of_seeds, of_examples = std**2 / seeds, from_examples**2
        freedom = (of_seeds + of_examples) ** 2 / (of_seeds**2 / (seeds - 1) + of_examples**2 / (examples - 1))
        enough = detectable(np.sqrt(of_seeds + of_examples), freedom) <= difference
        if enough.any():
            return float(seeds[np.argmax(enough)])
    return math.inf
