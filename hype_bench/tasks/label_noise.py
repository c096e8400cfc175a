"""Wrong labels on purpose: a share of the training labels replaced at random, for questions about label noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hype_bench.tasks.split import Split


def with_noise(split: Split, rate: float, classes: int, seed: int) -> Split:
    """The split with ``round(rate * examples)`` labels replaced: a class by another one, each as likely, and a number
    by that of an example drawn at random.

    Args:
        classes: of the task; 0 for a regression.
        seed: which labels, and by what; a higher rate replaces those of every lower one and more.
    """
    rng = np.random.default_rng([seed, 1])  # not the draw of the subset
    order, draws = rng.permutation(len(split)), rng.random(len(split))
    chosen = order[: round(rate * len(split))]
    labels: NDArray[np.int64] | NDArray[np.float64] = split.labels.copy()
    if classes:
        steps = 1 + (draws[chosen] * (classes - 1)).astype(np.int64)
        labels[chosen] = (split.labels[chosen] + steps) % classes
    else:
        labels[chosen] = split.labels[(draws[chosen] * len(split)).astype(np.int64)]
    return replace(split, labels=labels)
