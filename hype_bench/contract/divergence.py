"""How far the outputs of two passes are apart."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hype_bench.contract.objective import full


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """``KL(p1 || p2) + KL(p2 || p1)``, summed over classes and batch, in float32 or wider.

    Args:
        first, second: logits, (batch, classes); gradients flow through both.
    """
    log_p, log_q = (F.log_softmax(full(z), dim=-1) for z in (first, second))
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum()


def symmetric_divergence(first: Tensor, second: Tensor, is_regression: bool) -> Tensor:
    """:func:`symmetric_kl` per example, a mean over the batch; of a regression the mean squared difference.

    Args:
        first, second: logits, (batch, classes), or (batch, 1) for a regression.
    """
    return F.mse_loss(first, second) if is_regression else symmetric_kl(first, second) / len(first)
