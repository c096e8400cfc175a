"""SAM and ASAM (Foret et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, register
from hype_bench.options import number


def ascent(weights: list[Tensor], gradients: list[Tensor], rho: float, adaptive: bool = False) -> list[Tensor]:
    """How far to climb: ``rho * g / ||g||``, the norm over all weights together.

    Args:
        adaptive: ASAM: ``rho * w^2 g / || |w| g ||``, elementwise, so that the step is free of the weights' scale.

    Reference: Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization",
    arXiv:2010.01412; Kwon et al. 2021, "ASAM", arXiv:2102.11600
    """
    scaled = torch._foreach_mul(gradients, torch._foreach_abs(weights)) if adaptive else gradients
    norm = torch.stack(torch._foreach_norm(scaled)).norm()
    climbed = torch._foreach_mul(gradients, rho / (norm + 1e-12))
    if adaptive:
        torch._foreach_mul_(climbed, torch._foreach_mul(weights, weights))
    return list(climbed)


@register("sam")
@dataclass(frozen=True)
class SAM(Method):
    r"""SAM, ASAM: uses the gradient at nearby weights where the loss is highest.

    The first pass of an update moves the weights uphill; the second computes the gradient there, with which the
    original weights are updated. Both passes share their dropout masks and the noise of other techniques.

    Args:
        rho: radius of the neighbourhood; 0.05 in the code followed. ASAM needs about ten times as much.
        adaptive: whether the neighbourhood scales with the weights (ASAM): rho * w^2 g / || |w| g ||.

    Equation:
        g = \nabla_\theta \ell \left( \theta + \rho \frac{\nabla_\theta \ell}{\|\nabla_\theta \ell\|} \right)

    Reference:
        Foret, Kleiner, Mobahi and Neyshabur 2021, *Sharpness-Aware Minimization for Efficiently Improving
        Generalization*, ICLR 2021, https://arxiv.org/abs/2010.01412; Kwon, Kim, Park and Choi 2021, *ASAM*, ICML 2021,
        https://arxiv.org/abs/2102.11600; code followed: davda54/sam, commit 3c3afdb

    Differences:
        Neither paper nor code says whether the two passes share their dropout masks. Here they do, as in FreeLB, so
        that both gradients are those of the same function. Clipping acts on the second gradient.

    Cost:
        Two passes per update and a copy of the weights in between.

    When it helps:
        Mostly reported for vision models; for language models in later work.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"rho": 0.0}
    rho: float = number(0.05, least=0)
    adaptive: bool = False

    acts_on = frozenset({Part.BACKWARD})

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        def backward(micro_batches: list[Batch], inner: Backward) -> Tensor:
            replayed = context.rng_snapshot(model)
            loss = inner(micro_batches)
            before = self._climb(model)
            with replayed():
                inner(micro_batches)
            for weight, old in before:
                weight.copy_(old)
            return loss

        return Hooks(backward=backward)

    @torch.no_grad()
    def _climb(self, model: PreTrainedModel) -> list[tuple[Tensor, Tensor]]:
        """Moves the weights up, forgets their gradients; returns what brings them back exactly."""
        moving = [p for p in model.parameters() if p.grad is not None]
        steps = ascent(list(moving), [p.grad for p in moving if p.grad is not None], self.rho, self.adaptive)
        before = [(p.data, p.data.clone()) for p in moving]
        torch._foreach_add_(list(moving), steps)
        for p in moving:
            p.grad = None
        return before
