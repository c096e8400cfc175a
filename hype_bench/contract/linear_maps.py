"""Linear maps that compute something else in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hype_bench.contract.lifetime import Lifetime
from hype_bench.contract.noise import NoiseSource


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


class NeuronMasks:
    """In every forward pass a mask over the input neurons of each linear map: 1 / p with probability ``p``, else 0.

    Args:
        maps: by name.
        p: below 1.
    """

    def __init__(self, source: NoiseSource, maps: Mapping[str, nn.Linear], p: float) -> None:
        self.source, self.maps, self.p = source, maps, p
        self.forward = -1  # the pass of which these are the masks
        self.masks: dict[str, Tensor] = {}

    def __call__(self, name: str) -> Float[Tensor, " inputs"]:
        if self.forward != self.source.forward:
            rows = {name: module.weight.detach()[0] for name, module in self.maps.items()}
            self.forward, self.masks = self.source.forward, self.source.keep_each(rows, self.p)
        return self.masks[name]


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
