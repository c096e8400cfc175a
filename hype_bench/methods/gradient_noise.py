"""Gradient noise (Neelakantan et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, number, register


def deviation(update: int, eta: float, gamma: float) -> float:
    """``sqrt(eta / (1 + t)^gamma)``, the standard deviation at update t, from 0.

    Reference: Neelakantan et al. 2015, "Adding Gradient Noise Improves Learning for Very Deep Networks",
    arXiv:1511.06807
    """
    return float((eta / (1 + update) ** gamma) ** 0.5)


@register("gradient_noise")
@dataclass(frozen=True)
class GradientNoise(Method):
    r"""Gradient noise: normal noise on the gradients that gets smaller from update to update.

    Args:
        eta: variance of the first update; 0.01, 0.3 or 1 in the paper, see below.
        gamma: how fast it falls.

    Equation:
        g \leftarrow g + N(0, \sigma_t^2), \quad \sigma_t^2 = \frac{\eta}{(1 + t)^\gamma}

    Reference:
        Neelakantan, Vilnis, Le, Sutskever, Kaiser, Kurach and Martens 2015, *Adding Gradient Noise Improves Learning
        for Very Deep Networks*, https://arxiv.org/abs/1511.06807; no official code

    Differences:
        The paper's networks are small and trained by SGD. An encoder of 20 million weights whose gradient is clipped to
        norm 1 has entries around 2e-4: noise of variance 0.01 is 500 times as large, and Adam's step then is noise.
        The default variance of 1e-8, about half of such an entry, is a choice of this project. The noise comes after
        clipping, on every weight that has a gradient.

    Cost:
        One pass per update and one noise tensor for each weight.

    When it helps:
        Reported for very deep networks that start badly; no published result for fine-tuning is known here.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"eta": 0.0}
    eta: float = number(1e-8, least=0)
    gamma: float = number(0.55, least=0)

    acts_on = frozenset({Part.GRADIENTS})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_Noise(self, model, context)) if self.eta else Hooks()


class _Noise:
    def __init__(self, method: GradientNoise, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.source = method, model, context.noise("gradient_noise")
        self.update = 0

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        scale = deviation(self.update, self.method.eta, self.method.gamma)
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                parameter.grad.add_(self.source.normal(parameter.grad, f"{self.update} {name}"), alpha=scale)
        self.update += 1
