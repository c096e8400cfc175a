"""Weights that are elsewhere for some passes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


@contextlib.contextmanager
def moved(weights: Sequence[Tensor], steps: Sequence[Tensor], sign: float = 1.0) -> Iterator[None]:
    """Within, the weights stand ``sign * step`` further; afterwards they are what they were, bit for bit."""
    before = [(weight.data, weight.data.clone()) for weight in weights]
    with torch.no_grad():
        if before:
            torch._foreach_add_(list(weights), list(steps), alpha=sign)
    try:
        yield
    finally:
        for weight, old in before:
            weight.copy_(old)
