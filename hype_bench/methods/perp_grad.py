"""The perpendicular gradient (Prieto et al., ICLR 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, choice, full, number, register

_TINY = 1e-30
_ROUNDING = 1e-6  # what is left of a gradient along the weight


def perpendicular(weight: Float[Tensor, "*shape"], gradient: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The part of the gradient that is perpendicular to the weight, with the norm of the whole; 0 if nothing is left.

    Reference: Prieto et al. 2025, "Grokking at the Edge of Numerical Stability", arXiv:2501.04697
    """
    w, g = full(weight).flatten(), full(gradient).flatten()
    rest = g - (w @ g) / (w @ w + _TINY) * w
    norm, left = g.norm(), rest.norm()
    scaled = rest * (norm / (left + _TINY))
    return torch.where(left < _ROUNDING * norm, torch.zeros_like(scaled), scaled).view_as(gradient).to(gradient.dtype)


@register("perp_grad")
@dataclass(frozen=True)
class PerpGrad(Method):
    r"""Perpendicular gradient: takes away the part of each gradient that only makes its weight longer or shorter.

    Each weight tensor by itself; what is left has the norm of the whole gradient. Biases that are 0 are not changed by
    it, and tensors with one element are spared. Beside a technique that masks gradients it belongs first.

    Args:
        strength: between the plain gradient, 0, and the perpendicular one, 1.
        scope: `all` weights, or `matrices` alone.

    Equation:
        g \leftarrow \frac{\|g\|}{\|r\|} r, \quad r = g - \frac{\langle w, g \rangle}{\langle w, w \rangle} w

    Reference:
        Prieto, Barsbey, Mediano and Birdal 2025, *Grokking at the Edge of Numerical Stability*, ICLR 2025,
        https://arxiv.org/abs/2501.04697; code: LucasPrietoAl/grokking-at-the-edge-of-numerical-stability, commit
        0cc9e8d

    Differences:
        In the released code a tensor with one element, such as the bias of a regression, gets 0 or the wrong sign in 84
        % of draws; here it keeps its gradient. Where a gradient lies along its weight the code scales up what rounding
        leaves; here it is 0. Adam divides by entry afterwards, so that its step is not perpendicular any more; weight
        decay then is the only force along the weights. Between 0 and 1 `strength` is this project's.

    Cost:
        One pass per update; two scalar products and two norms for each weight.

    When it helps:
        Reported for models that grok; no published result for fine-tuning is known here. LayerNorm makes most of an
        encoder's matrices insensitive to their scale already.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}
    strength: float = number(1.0, least=0, most=1)
    scope: str = choice("all", "all", "matrices")

    acts_on = frozenset({Part.GRADIENTS, Part.WEIGHTS_BEFORE_STEP})  # which it reads
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.strength == 0:
            return Hooks()

        @torch.no_grad()
        def before_step(optimizer: Optimizer) -> None:
            for parameter in model.parameters():
                is_in_scope = parameter.dim() > 1 or self.scope == "all"
                if parameter.grad is not None and parameter.numel() > 1 and is_in_scope:
                    parameter.grad.lerp_(perpendicular(parameter, parameter.grad), self.strength)

        return Hooks(before_step=before_step)
