"""Early-learning regularisation (Liu et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Forward, Hooks, Loss, Method, Part, full, number, register

_LEAST, _MOST = 1e-4, 1 - 1e-4


def clamped(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """Probabilities in [1e-4, 1 - 1e-4]; those beyond have no gradient."""
    return full(logits).softmax(-1).clamp(_LEAST, _MOST)


def moved_targets(
    targets: Float[Tensor, "batch classes"], p: Float[Tensor, "batch classes"], beta: float
) -> Float[Tensor, "batch classes"]:
    """``beta t + (1 - beta) p / sum(p)``, without gradient.

    Reference: Liu et al. 2020, "Early-Learning Regularization Prevents Memorization of Noisy Labels", arXiv:2007.00151
    """
    p = p.detach()
    return beta * targets + (1 - beta) * p / p.sum(-1, keepdim=True)


def regulariser(p: Float[Tensor, "batch classes"], targets: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """Mean of ``log(1 - <t, p>)``: negative, and lower the closer the output stays to its target."""
    return (1 - (targets * p).sum(-1)).log().mean()


@register("elr")
@dataclass(frozen=True)
class ELR(Method):
    r"""Early-learning regularisation (ELR): keeps the output for each example close to what it was on average before.

    Wrong labels are fitted late in training; a running mean of the model's own predictions for an example holds against
    them. `data.label_noise` makes some labels wrong on purpose.

    Args:
        weight: lambda; 3 for CIFAR-10 and Clothing1M, 7 for CIFAR-100.
        beta: how much of the running mean stays at each visit: 0.7, 0.9 for CIFAR-100; 0 makes the present prediction
            its own target.

    Equation:
        \ell + \lambda \, \frac{1}{n} \sum_i \log \left( 1 - \langle t_i, p_i \rangle \right), \quad t_i \leftarrow
        \beta t_i + (1 - \beta) p_i

    Reference:
        Liu, Niles-Weed, Razavian and Fernandez-Granda 2020, *Early-Learning Regularization Prevents Memorization of
        Noisy Labels*, NeurIPS 2020, https://arxiv.org/abs/2007.00151; code: shengliu66/ELR, commit 934af53

    Differences:
        The published values are for 120 epochs and more of SGD. In three epochs an example is met three times, and with
        beta 0.7 its target then sums to 0.66, as it starts at 0 and is not corrected. Where other techniques make
        several passes over a batch the targets move in the first one alone. The loss may be negative. Refused for a
        regression; ELR+, with two networks and mixed inputs, is left out.

    Cost:
        One pass per update, and the targets: a number for each example and class.

    When it helps:
        With wrong labels in the training data; hardly without.
    """

    takes_regression = False
    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    weight: float = number(3.0, least=0)
    beta: float = number(0.7, least=0, below=1)

    acts_on = frozenset({Part.LOSS})

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_Targets(self, model, context)) if self.weight else Hooks()


class _Targets:
    """The running mean of the predictions for each training example."""

    def __init__(self, method: ELR, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.targets = torch.zeros(0)
        self.visited = torch.zeros(0, dtype=torch.bool)  # in this update

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        task, output = inner(batch, forward)
        if not self.model.training:
            return task, output
        ids, p = self.context.example_ids("elr", batch), clamped(output.logits)
        if not len(self.targets):
            self.targets = p.new_zeros(self.context.examples or 0, p.shape[-1])
            self.visited = torch.zeros(len(self.targets), dtype=torch.bool, device=p.device)
        present = moved_targets(self.targets[ids], p, self.method.beta)
        present = torch.where(self.visited[ids, None], self.targets[ids], present)
        self.targets[ids], self.visited[ids] = present, True
        return task + self.method.weight * regulariser(p, present), output

    def after_step(self, optimizer: Optimizer) -> None:
        self.visited.zero_()
