"""Wrong labels on purpose: a share of the training labels replaced at random, for questions about label noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hype_bench.tasks.split import Split


def with_noise(split: Split, rate: float, classes: int, seed: int, kind: str = "symmetric") -> Split:
    """The split with ``round(rate * examples)`` labels replaced: a class by another one, and a number by that of an
    example drawn at random.

    Args:
        classes: of the task; 0 for a regression.
        kind: ``symmetric``: every other class is as likely; ``asymmetric``: a class becomes the next one, and the last
            the first.
        seed: which labels, and by what; a higher rate replaces those of every lower one and more.
    """
    rng = np.random.default_rng([seed, 1])  # not the draw of the subset
    order, draws = rng.permutation(len(split)), rng.random(len(split))
    chosen = order[: round(rate * len(split))]
    labels: NDArray[np.int64] | NDArray[np.float64] = split.labels.copy()
    if classes:
        others = classes - 1 if kind == "symmetric" else 1
        steps = 1 + (draws[chosen] * others).astype(np.int64)
        labels[chosen] = (split.labels[chosen] + steps) % classes
    else:
        labels[chosen] = split.labels[(draws[chosen] * len(split)).astype(np.int64)]
    return replace(split, labels=labels)
