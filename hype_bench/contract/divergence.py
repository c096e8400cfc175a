"""How far the outputs of two passes are apart."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hype_bench.contract.objective import full


def symmetric_kl(first: Float[Tensor, "batch classes"], second: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """``KL(p1 || p2) + KL(p2 || p1)``, summed over classes and batch, in float32 or wider.

    Args:
        first, second: logits; gradients flow through both.
    """
    log_p, log_q = (F.log_softmax(full(z), dim=-1) for z in (first, second))
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum()


def symmetric_divergence(
    first: Float[Tensor, "batch classes"], second: Float[Tensor, "batch classes"], is_regression: bool
) -> Float[Tensor, ""]:
    """:func:`symmetric_kl` per example, a mean over the batch; of a regression the mean squared difference.

    Args:
        first, second: logits; one column for a regression.
    """
    return F.mse_loss(first, second) if is_regression else symmetric_kl(first, second) / len(first)
