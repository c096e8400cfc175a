"""What CUDA computes in another order each time: in deterministic mode torch warns of it, here it is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

aten = torch.ops.aten
_NEVER = {
    aten.histc.default,
    aten.max_pool2d_with_indices_backward.default,
    aten.median.dim,
    aten.nanmedian.dim,
    aten.nll_loss2d_forward.default,
    aten.put.default,
    aten.put_.default,
}


def refuse_what_does_not_repeat(operator: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> None:
    """Raises RuntimeError for what has no deterministic kernel in torch 2.11 to 2.13, if a run asks for such."""
    if not torch.are_deterministic_algorithms_enabled():
        return
    is_float_sum = operator in (aten.cumsum.default, aten.cumsum.out) and arguments[0].is_floating_point()
    is_product = operator is aten.scatter_reduce.two and arguments[4] == "prod"
    is_weighted = operator is aten.bincount.default and (len(arguments) > 1 or keywords.get("weights") is not None)
    if operator in _NEVER or is_float_sum or is_product or is_weighted:
        raise RuntimeError(f"{operator} has no deterministic kernel for CUDA")
