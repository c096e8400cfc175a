"""ROSE (Jiang et al., EMNLP 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Context, Exclusive, Groups, Hooks, Method, Part, register
from hype_bench.contract.divergence import symmetric_divergence
from hype_bench.contract.foreach import together
from hype_bench.contract.objective import Batch, Forward, Loss, is_regression
from hype_bench.contract.own_step import Group, OwnStep, decay, decay_rate
from hype_bench.contract.passes import EqualPasses
from hype_bench.models.hidden_dropout import hidden_dropouts, set_dropout
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError, choice, number


def within_quantiles(saliency: Float[Tensor, " tensors"], lower: float, upper: float) -> Float[Tensor, " tensors"]:
    """1 for the tensors whose saliency lies between the two quantiles of all of them, ends included; else 0.

    Reference: Jiang et al. 2022, "ROSE: Robust Selective Fine-tuning for Pre-trained Language Models", section 3,
    https://aclanthology.org/2022.emnlp-main.186
    """
    low, high = torch.quantile(saliency, lower), torch.quantile(saliency, upper)
    inside: Tensor = (saliency >= low) & (saliency <= high)
    return inside.to(saliency.dtype)


def second_order_saliency(
    gradient_norms: Float[Tensor, " tensors"], moment_norms: Float[Tensor, " tensors"]
) -> Float[Tensor, " tensors"]:
    """``| 0.1 ||g|| / ||m|| - 1 |`` of every tensor; m is Adam's first moment before the update. 0 / 0 counts as 0."""
    return (0.1 * gradient_norms / moment_norms).nan_to_num(nan=0.0).sub(1).abs()


@register("rose")
@dataclass(frozen=True)
class ROSE(Method):
    r"""ROSE: skips the weight tensors whose update would make the output fragile.

    After warm-up, each weight tensor of the encoder layers has a mask that scales its update: 0 or 1, or in the
    ensemble a number in between. The gradient becomes `mask * g + (1 - mask) * m` before Adam updates its moments, and
    the step and weight decay are multiplied by the mask.

    Args:
        variant: saliency of a tensor: `first`, from the gradient of the divergence between two passes with dropout;
            `second`, from the distance between the gradient and Adam's first moment; `ensemble`, both.
        lower: lower quantile of saliency; tensors between the two quantiles are trained.
        upper: upper quantile of saliency; 0.3 to 0.9 in the released commands, depending on the task.
        gamma: weight of the first-order mask in the ensemble.
        kl_dropout: hidden dropout of the two passes of the first-order saliency.

    Equation:
        \theta \leftarrow \theta - \eta \, M \odot \frac{\hat m}{\sqrt{\hat v} + \epsilon}, \quad M = (1 - \gamma) M_2 +
        \gamma M_1

    Reference:
        Jiang, Zhou, Lin, Li, Zhou and Jiang 2022, *ROSE: Robust Selective Fine-tuning for Pre-trained Language Models*,
        EMNLP 2022, https://aclanthology.org/2022.emnlp-main.186; code: jiangllan/ROSE, commit ae28d74

    Differences:
        As in the released code, there is one mask per tensor, although the paper speaks of parameters, and it covers
        the tensors of the layers with `weight` in their name. The released runs have beta2 0.98, weight decay 0.01, 10
        epochs and batches of 32; here these come from the recipe. The released Adam is `training.optimizer=adamw_hf`. A
        regression uses the squared difference of the two passes, which the released code does not have.

    Cost:
        `first` and `ensemble`: two more forward passes and one more backward pass per update; a copy of the weights.

    When it helps:
        The paper reports robustness on AdvGLUE with RoBERTa at little cost on GLUE.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"lower": 0.0, "upper": 1.0}
    variant: str = choice("ensemble", "first", "second", "ensemble")
    lower: float = number(0.0, least=0, most=1)
    upper: float = number(0.5, least=0, most=1)
    gamma: float = number(0.5, least=0, most=1)
    kl_dropout: float = number(0.1, least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower > self.upper:
            raise ValueError(f"lower must be at most upper ({self.upper}), not {self.lower}")

    exclusive = frozenset({Exclusive.OPTIMIZER_STEP, Exclusive.WEIGHT_DECAY})
    acts_on = frozenset(part for part in Part if part >= Part.PARAMETER_GROUPS)

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)
        if self.variant != "second" and not hidden_dropouts(model):
            kind = model.config.model_type
            raise UserError(
                f"rose.variant={self.variant} compares passes with dropout, which {kind} does not have; use second"
            )

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.lower == 0 and self.upper == 1 else Hooks.of(_Masked(self, model, context))


class _Masked:
    """The masks of this update, and its step."""

    def __init__(self, method: ROSE, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.warmup = method, model, context.warmup
        self.compared, self.diverging = EqualPasses("rose's first-order mask", context), context.flag(False)
        self.dropouts = hidden_dropouts(model).values()
        self.tensors: list[Tensor] = []
        self.first: Tensor | None = None
        self.masks: dict[Tensor, Tensor] = {}
        self.own_step = OwnStep()
        self.steps = 0  # that were taken: fp16 skips some, and the warm-up waits for them

    @property
    def _acts(self) -> bool:
        return self.steps >= self.warmup

    def parameter_groups(self, groups: Groups) -> Groups:
        weights = [p for layer in encoder_layers(self.model) for n, p in layer.named_parameters() if "weight" in n]
        self.tensors = [p for p in weights if p.requires_grad]
        if not self.tensors:
            raise UserError("rose chooses among the weight tensors of the layers, and none of them is trained")
        return self.own_step.take_decay(groups)

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.diverging.value:
            return inner(batch, forward)
        first, second = forward(batch), forward(batch)
        apart = symmetric_divergence(first.logits, second.logits, is_regression(batch["labels"]))
        return self.compared.watch(apart), first

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        if self.method.variant != "second" and self._acts:
            restore = set_dropout(self.dropouts, self.method.kl_dropout)
            with self.diverging.set(True):
                inner(micro_batches)
            restore()
            self.first = within_quantiles(_gradient_norms(self.tensors), self.method.lower, self.method.upper)
            self.model.zero_grad()
        return inner(micro_batches)

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        if not self._acts:
            return
        moments = {p: optimizer.state[p].get("exp_avg") for p in self.tensors}
        mask = self._mask(list(moments.values()))
        self.masks, rest = (dict(zip(self.tensors, values, strict=True)) for values in (mask, 1 - mask))
        self.own_step.remember(self.tensors)
        for tensors in together([p for p in self.tensors if p.grad is not None]):
            torch._foreach_mul_(_gradients(tensors), [self.masks[p] for p in tensors])
            if remembered := [p for p in tensors if moments[p] is not None]:
                shares = torch._foreach_mul([moments[p] for p in remembered], [rest[p] for p in remembered])
                torch._foreach_add_(_gradients(remembered), shares)

    def _mask(self, moments: list[Tensor | None]) -> Float[Tensor, " tensors"]:
        method = self.method
        second = self.tensors[0].new_ones(len(self.tensors))
        if method.variant != "first" and all(m is not None for m in moments):
            history = torch.stack(torch._foreach_norm([m for m in moments if m is not None]))
            saliency = second_order_saliency(_gradient_norms(self.tensors), history)
            second = within_quantiles(saliency, method.lower, method.upper)
        if method.variant == "second" or self.first is None:
            return second
        return self.first if method.variant == "first" else (1 - method.gamma) * second + method.gamma * self.first

    def after_step(self, optimizer: Optimizer) -> None:
        self.steps += 1
        self.own_step.replace(optimizer, self._masked_step, self._masked_decay)

    def _masked_step(self, after: list[Tensor], before: list[Tensor], group: Group) -> list[Tensor]:
        return list(torch._foreach_lerp(before, after, [self.masks[p] for p in after]))

    def _masked_decay(self, weights: list[Tensor], group: Group) -> None:
        if masked := [p for p in weights if p in self.masks]:
            factors = 1 - decay_rate(group) * torch.stack([self.masks[p] for p in masked])
            torch._foreach_mul_(masked, list(factors))
        if others := [p for p in weights if p not in self.masks]:
            decay(others, group)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _gradient_norms(parameters: list[Tensor]) -> Float[Tensor, " parameters"]:
    """0 where there is no gradient."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.stack(torch._foreach_norm(gradients))
