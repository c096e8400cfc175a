"""SAGE (Liang et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Groups, Hooks, Method, Part, register
from hype_bench.contract.foreach import together
from hype_bench.contract.own_step import Group, OwnStep
from hype_bench.models.layers import encoder_layers, is_layer_norm
from hype_bench.options import number


def sensitivity(weights: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """``|w g|``: to first order, by how much the loss changes if the weight becomes 0."""
    products = torch._foreach_mul(weights, gradients)
    torch._foreach_abs_(products)
    return list(products)


def learning_rate_factor(
    now: list[Tensor], average: list[Tensor], step: int, beta3: float, epsilon: float
) -> list[Tensor]:
    """``|I - I_hat| / (I_hat + epsilon^2)`` for every weight, in tensors of the same shapes.

    Args:
        now: its sensitivity I; ``average``: the running mean of I with ``now`` already in it.
        step: number of the update, from 1: ``I_hat = average / (1 - beta3^step)``.
        epsilon: the optimizer's.

    Reference: Liang et al. 2022, "No Parameters Left Behind: Sensitivity Guided Adaptive Learning Rate for Training
    Large Transformer Models", arXiv:2202.02664
    """
    corrected = torch._foreach_div(average, 1 - beta3**step)
    factors = torch._foreach_sub(now, corrected)
    torch._foreach_abs_(factors)
    torch._foreach_add_(corrected, epsilon**2)
    torch._foreach_div_(factors, corrected)
    return list(factors)


@register("sage")
@dataclass(frozen=True)
class SAGE(Method):
    r"""SAGE: weights to which the loss is insensitive learn faster.

    The step of each weight in the linear maps of the encoder is multiplied by a factor: how far its sensitivity is from
    its running mean, relative to that mean. Weight decay is separate and comes last.

    Args:
        beta3: decay of the running mean of sensitivities; 0.75 in the released code, useful from 0.6 to 0.9.

    Equation:
        \theta \leftarrow \theta - \eta \, \frac{|I - \hat I|}{\hat I + \epsilon^2} \odot \frac{\hat m}{\sqrt{\hat v} +
        \epsilon}, \quad I = |\theta \odot g|, \quad \bar I \leftarrow \beta_3 \bar I + (1 - \beta_3) I

    Reference:
        Liang, Jiang, Zuo, He, Liu, Gao, Chen and Zhao 2022, *No Parameters Left Behind: Sensitivity Guided Adaptive
        Learning Rate for Training Large Transformer Models*, ICLR 2022, https://arxiv.org/abs/2202.02664; code:
        cliang1453/SAGE, commit 87cefb1

    Differences:
        As in the released AdamW, the running mean is bias-corrected: in the first update the factor is 0, and only
        weight decay moves these weights. As in the released code and its baseline, weight decay (of all weights) uses
        the learning rate before the schedule; over a linear schedule that is about twice the decay of vanilla. The
        released code also clips the gradient of each tensor; here only the recipe clips. The released Adamax form,
        without bias correction, is not offered. Learning rates are 2 to 5 times the usual ones: set
        `training.learning_rate`.

    Cost:
        One pass per update; a running mean and a copy of the linear weights of the encoder.

    When it helps:
        The paper reports gains on GLUE with BERT and RoBERTa, and in translation.
    """

    beta3: float = number(0.75, least=0, below=1)

    exclusive = frozenset({Exclusive.OPTIMIZER_STEP, Exclusive.WEIGHT_DECAY})
    acts_on = frozenset({Part.PARAMETER_GROUPS, Part.GRADIENTS, Part.WEIGHTS_BEFORE_STEP, Part.WEIGHTS_AFTER_STEP})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_Guided(self.beta3, model))


@dataclass
class _Guided:
    """The running mean of sensitivities, and the factors of the update's step."""

    beta3: float
    model: PreTrainedModel
    steps: int = 0
    own_step: OwnStep = field(default_factory=OwnStep)
    weights: set[nn.Parameter] = field(default_factory=set)
    average: dict[Tensor, Tensor] = field(default_factory=dict)
    factor: dict[Tensor, Tensor] = field(default_factory=dict)

    def parameter_groups(self, groups: Groups) -> Groups:
        self.weights = _linear_weights(self.model)
        return self.own_step.take_decay(groups)

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        self.steps += 1
        for group in optimizer.param_groups:
            for weights in together([p for p in group["params"] if p in self.weights and p.grad is not None]):
                now = sensitivity(weights, [p.grad for p in weights if p.grad is not None])
                self.average |= {p: torch.zeros_like(p) for p in weights if p not in self.average}
                means = [self.average[p] for p in weights]
                torch._foreach_lerp_(means, now, 1 - self.beta3)
                factors = learning_rate_factor(now, means, self.steps, self.beta3, group["eps"])
                self.factor.update(zip(weights, factors, strict=True))
        self.own_step.remember(self.weights)

    def after_step(self, optimizer: Optimizer) -> None:
        self.own_step.replace(optimizer, self._guided, _decay_by_first_rate)

    def _guided(self, after: list[Tensor], before: list[Tensor], group: Group) -> list[Tensor]:
        steps = torch._foreach_sub(after, before)
        torch._foreach_addcmul_(before, steps, [self.factor[p] for p in after])
        return before


def _decay_by_first_rate(weights: list[Tensor], group: Group) -> None:
    """With the learning rate before the schedule."""
    torch._foreach_mul_(weights, 1 - group.get("initial_lr", group["lr"]) * group["decay_after"])


def _linear_weights(model: PreTrainedModel) -> set[nn.Parameter]:
    """Weights and biases of the layers, LayerNorm's left out."""
    layers = encoder_layers(model)
    norms = {p for layer in layers for m in layer.modules() if is_layer_norm(m) for p in m.parameters()}
    return {p for layer in layers for p in layer.parameters()} - norms
