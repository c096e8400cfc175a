"""DPS (Zhang et al., NeurIPS 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Exclusive, Hooks, Method, Part, register
from hype_bench.contract.foreach import together
from hype_bench.contract.linear_maps import NeuronMasks, mix, replace_forward
from hype_bench.models.hidden_dropout import all_dropouts, set_dropout
from hype_bench.models.layers import linear_maps
from hype_bench.options import choice, number

_LONG = 2000  # updates from which the dense form keeps its dropout
_COUNTED = 50  # updates of a stage from which the mixed form favours what was seldom chosen


def in_second_stage(step: int, stage: int) -> bool:
    """Whether update ``step`` (from 1) lies in a stage of restricted updates; stages of ``stage`` updates alternate."""
    return math.ceil(step / stage) % 2 == 0


def chosen(score: Float[Tensor, "*shape"], p: float) -> Float[Tensor, "*shape"]:
    """1 where the score is at least the ceil(n (1 - p))-th largest of its tensor, else 0; ties are kept.

    Reference: Zhang et al. 2022, "Fine-Tuning Pre-Trained Language Models Effectively by Optimizing Subnetworks
    Adaptively", arXiv:2211.01642
    """
    kept = max(1, math.ceil(score.numel() * (1 - p)))
    threshold = score.flatten().kthvalue(score.numel() - kept + 1).values
    return (score >= threshold).to(score.dtype)


def frequency_penalised(
    score: Float[Tensor, "outputs inputs"], counts: Float[Tensor, " inputs"], stage: int
) -> Float[Tensor, "outputs inputs"]:
    """The mixed form's score: the mean over the passes in which an entry took part, less for those often chosen."""
    counts = counts.clamp_min(1.0)
    return score / counts * torch.exp(-counts / stage) if stage >= _COUNTED else score / counts


@register("dps")
@dataclass(frozen=True)
class DPS(Method):
    r"""DPS: stages that train everything alternate with stages that train the entries with the largest gradients.

    Dynamic Parameter Selection acts on the weights of all linear maps, including pooler and head. Hidden and attention
    dropout are 0, except in dense runs of 2000 updates or more.

    Args:
        p: fraction of each weight that is not trained in the restricted stages; 0.3 in the released command, which
            calls it `reserve_p`.
        stage_ratio: length of a stage, as a fraction of all updates; 0.05 in the released command.
        variant: `dense`, or `mix`, in which the unrestricted stages apply Mixout with probability p.

    Equation:
        g \leftarrow g \odot \mathbb{1}[s \ge s_{(\lceil n (1 - p) \rceil)}], \quad s = \sum_{t \in \text{stage I}}
        g_t^2

    Reference:
        Zhang, Li, Li, Zhang, Zhu and Jin 2022, *Fine-Tuning Pre-Trained Language Models Effectively by Optimizing
        Subnetworks Adaptively*, NeurIPS 2022, https://arxiv.org/abs/2211.01642; code: ZhangHaojie077/DPS, commit
        b8e41a8

    Differences:
        This follows the released code; the text of the paper was not available. There, `reserve_p` keeps a fraction of
        1 - p. The released code stores its state in a class, indexed by the order of calls, which breaks with a second
        model or with gradient checkpointing; here each weight has its own state. Gradients are squared once per update,
        in the released code once per backward pass; without gradient accumulation the two are the same. The masks act
        before clipping.

    Cost:
        One pass per update and one score per linear weight; `mix` adds counts and a fixed copy of the weights.

    When it helps:
        The paper reports gains over vanilla, Child-Tuning and Mixout on small GLUE tasks and out of domain.
    """

    p: float = number(0.3, least=0, below=1)
    stage_ratio: float = number(0.05, above=0, most=1)
    variant: str = choice("dense", "dense", "mix")

    @property
    def exclusive(self) -> frozenset[Exclusive]:
        shared = {Exclusive.GRADIENT_MASK, Exclusive.HIDDEN_DROPOUT}
        return frozenset({*shared, Exclusive.LINEAR_MAPS, Exclusive.OUTPUT_PROJECTION} if self._mixes else shared)

    @property
    def _mixes(self) -> bool:
        return self.variant == "mix"

    @property
    def acts_on(self) -> frozenset[Part]:
        parts = frozenset({Part.DROPOUT, Part.LINEAR_MAPS, Part.BACKWARD})
        return parts | {Part.INITIAL_WEIGHTS} if self._mixes else parts

    def check(self, model: PreTrainedModel) -> None:
        linear_maps(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        updates: int = context.needs("dps", "updates")
        if self._mixes or updates < _LONG:
            context.cleanup.callback(set_dropout(all_dropouts(model).values(), 0.0))
        state = _Stages(self, model, context, max(1, int(updates * self.stage_ratio)))
        return Hooks.of(state)


class _Stages:
    """All linear maps of a model, update by update."""

    def __init__(self, method: DPS, model: PreTrainedModel, context: Context, stage: int) -> None:
        masks = NeuronMasks(context.noise("dps", model), linear_maps(model), 1 - method.p)
        self.model, self.context, self.step, self.stage = model, context, 0, stage
        self.maps = [_Map(method, module, name, masks, context) for name, module in linear_maps(model).items()]
        if method.variant == "mix":
            for linear in self.maps:
                replace_forward(linear.module, linear.forward, context)

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        self.step += 1
        is_second = in_second_stage(self.step, self.stage)
        for linear in self.maps:
            linear.parts = len(micro_batches)
            if (self.step - 1) % self.stage == 0:
                linear.start_stage(is_second, self.stage)
        loss = inner(micro_batches)
        self._use_gradients(is_second)
        return loss

    @torch.no_grad()
    def _use_gradients(self, is_second: bool) -> None:
        """For the scores in a first stage; masked in a second."""
        every = [(linear, linear.module.weight.grad) for linear in self.maps]
        pairs = [(linear, gradient) for linear, gradient in every if gradient is not None]
        gradients = [gradient for _, gradient in pairs]
        if is_second:
            _mask(gradients, [linear.mask for linear, _ in pairs if linear.mask is not None])
        elif self.context.will_step(self.model):
            _add_squares([linear.score for linear, _ in pairs], gradients)


def _mask(gradients: list[Tensor], masks: list[Tensor]) -> None:
    for some, their_masks in zip(together(gradients), together(masks), strict=True):
        torch._foreach_mul_(some, their_masks)


def _add_squares(scores: list[Tensor], gradients: list[Tensor]) -> None:
    for some, their_gradients in zip(together(scores), together(gradients), strict=True):
        torch._foreach_add_(some, torch._foreach_mul(their_gradients, their_gradients))


class _Map:
    """What DPS knows of one linear map: its score and, in the second stages, which entries are trained."""

    def __init__(self, method: DPS, module: nn.Linear, name: str, masks: NeuronMasks, context: Context) -> None:
        self.p, self.mixes = method.p, method.variant == "mix"
        self.module, self.name, self.neurons, self.context = module, name, masks, context
        self.parts = 1  # micro-batches of this update
        self.score, self.counts = torch.zeros_like(module.weight), torch.zeros_like(module.weight[0])
        self.target = module.weight.detach().clone() if self.mixes else None
        self.pretrained = self.target
        self.mask: Tensor | None = None
        self.plain = module.forward

    @torch.no_grad()
    def start_stage(self, is_second: bool, stage: int) -> None:
        if is_second:
            score = frequency_penalised(self.score, self.counts, stage) if self.mixes else self.score
            self.mask = chosen(score, self.p)
            self.target = self.module.weight.detach().clone() if self.mixes else None
        else:
            self.mask, self.target = None, self.pretrained
            self.score = torch.zeros_like(self.module.weight)  # whose shape a new head may have changed
            self.counts.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Mixout with p in the first stages, with the chosen entries in the second."""
        if not self.module.training or self.p == 0:
            return self.plain(x)
        if self.mask is None:
            keep = self.neurons(self.name)
            self._count(keep)
        else:
            keep = self.mask / (1 - self.p)
        target: Any = self.target
        return F.linear(x, mix(self.module.weight, target, keep, "official"), self.module.bias)

    def _count(self, keep: Tensor) -> None:
        """Once per update, regardless of micro-batches and of what checkpointing computes again."""
        if torch.is_grad_enabled() and not self.context.recomputing:
            self.counts += (keep > 0).to(keep.dtype) / self.parts
