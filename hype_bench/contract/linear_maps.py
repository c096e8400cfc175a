"""Linear maps that compute something else in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hype_bench.contract.lifetime import Lifetime


def mix(
    weight: Float[Tensor, "*outputs inputs"],
    target: Float[Tensor, "*outputs inputs"],
    keep: Float[Tensor, "... inputs"],
    gradient: str = "true",
) -> Float[Tensor, "*outputs inputs"]:
    """``target + (weight - target) * keep``, which equals [(1 - M) target + M weight - p target] / (1 - p) of section 3
    for ``keep = M / (1 - p)`` and has the expectation ``weight``.

    Args:
        keep: for each input or each entry, 1 / (1 - p) where the weight stays, 0 where the target takes its place.
        gradient: ``true``: the derivative, keep; ``official``: the released code's, which leaves out 1 / (1 - p).

    Reference: Lee, Cho and Kang 2020, "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language
    Models", arXiv:1909.11299
    """
    mixed: Tensor = _Mix.apply(weight, target, keep, gradient == "official")  # type: ignore[no-untyped-call]
    return mixed


def replace_forward(module: nn.Linear, forward: Callable[[Tensor], Tensor], context: Lifetime) -> None:
    """Lets a linear map compute something else until the run ends; its hooks and the names of its weights stay."""
    module.__dict__["forward"] = forward
    context.cleanup.callback(module.__dict__.pop, "forward")


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, target: Tensor, keep: Tensor, official: bool) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.official = official
        return torch.addcmul(target, weight - target, keep)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (keep,) = ctx.saved_tensors
        return upstream * ((keep > 0).to(keep.dtype) if ctx.official else keep), None, None, None
