"""SaRA (Hu et al., ICLR 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import (
    Batch,
    Context,
    Exclusive,
    Forward,
    Hooks,
    Loss,
    Method,
    Part,
    UserError,
    full,
    number,
    register,
)
from hype_bench.contract.freeze import train_only
from hype_bench.models.layers import depths, encoder_layers, head_parameters, is_layer_norm
from hype_bench.options import Affects

_LEAST_SIDE = 64  # of a matrix whose rank is penalised


def small_entries(weight: Float[Tensor, "*shape"], share: float, threshold: float | None) -> Bool[Tensor, "*shape"]:
    """True at entries with ``|w| < threshold``; without a threshold at the ``share`` of the entries nearest to 0.

    Reference: Hu et al. 2025, "SaRA: High-Efficient Diffusion Model Fine-tuning with Progressive Sparse Low-Rank
    Adaptation", arXiv:2409.06633
    """
    size = weight.abs()
    if threshold is not None:
        return size < threshold
    count = max(1, round(share * size.numel()))
    return size <= size.flatten().kthvalue(count).values


def nuclear_norm(weight: Float[Tensor, "rows columns"], mask: Bool[Tensor, "rows columns"]) -> Float[Tensor, ""]:
    """The sum of the singular values of a weight's trained entries: the smaller, the lower is their rank."""
    norm: Tensor = torch.linalg.matrix_norm(full(weight) * mask, "nuc")
    return norm


@register("sara")
@dataclass(frozen=True)
class SaRA(Method):
    r"""SaRA: trains only the smallest entries of the pre-trained weights.

    Entries of the layers near 0, which pre-training has made little use of, and the head are trained; all others stay.

    Args:
        share: of each weight tensor's entries that are trained.
        threshold: trains the entries below it instead of a share; 2e-3 in the released command, null for `share`.
        rank_penalty: weight of the nuclear norm of the trained entries of one weight matrix, each update another one;
            5e-4 in the released command, where it has no effect.
        again_after: updates after which those that are still small are chosen once more, with fresh moments; 2500 in
            the released command, null for never. Needs a threshold.

    Equation:
        \theta_i \text{ trained if } |\theta_i| < \tau, \text{ else fixed}

    Reference:
        Hu, Zhang, Li, Ma, Wang and others 2025, *SaRA: High-Efficient Diffusion Model Fine-tuning with Progressive
        Sparse Low-Rank Adaptation*, ICLR 2025, https://arxiv.org/abs/2409.06633; code: sjtuplayer/SaRA, commit ea21192

    Differences:
        The paper's form, not the code's: the released optimizer starts from the absolute values of the trained entries,
        so that the small weights lose their signs, its penalty on the rank changes nothing, and its default crashes at
        the first step. Here the penalty acts, on matrices with more than 64 rows and columns as released, and is off by
        default, as it needs a singular value decomposition per update. Made for diffusion models; a threshold of 2e-3
        would be 4 % of BERT's entries, and the default of a tenth of each tensor is a choice of this project.
        Embeddings and LayerNorms are frozen.

    Cost:
        One pass per update, a copy of the layers' weights and a mask.

    When it helps:
        Reported for diffusion models; not known for encoders.
    """

    tiny_options: ClassVar[Mapping[str, Any]] = {"share": 0.3}
    share: float = number(0.1, above=0, most=1)
    threshold: float | None = number(None, above=0)
    rank_penalty: float = number(0.0, least=0, affects=Affects.NUMBERS | Affects.PACE, added_later=True)
    again_after: int | None = number(None, least=1, affects=Affects.NUMBERS | Affects.PACE)

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.GRADIENT_MASK, Exclusive.TRAINED_ENTRIES})

    @property
    def acts_on(self) -> frozenset[Part]:
        parts = {Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.GRADIENTS, Part.WEIGHTS_AFTER_STEP}
        return frozenset(parts | ({Part.LOSS} if self.rank_penalty else set()))

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, height = head_parameters(model), depths(model)
        norms = {p for module in model.modules() if is_layer_norm(module) for p in module.parameters()}
        candidates = [p for p in model.parameters() if p not in head and height[p] > 0 and p not in norms]
        chosen = {p: small_entries(p.detach(), self.share, self.threshold) for p in candidates}
        chosen = {p: mask for p, mask in chosen.items() if mask.any()}
        train_only(model, context, lambda name, p: p in head or p in chosen)
        context.facts["trained_entries"] = sum(int(mask.sum()) for mask in chosen.values())
        state = _Mask(self, chosen)
        hooks = Hooks.of(state)
        if not self.rank_penalty:
            return hooks
        penalised = [p for p in chosen if p.dim() == 2 and min(p.shape) > _LEAST_SIDE]
        if not penalised:
            raise UserError(f"sara.rank_penalty needs a matrix with more than {_LEAST_SIDE} rows and columns")
        source = context.noise("sara", model)

        def loss(batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
            task, output = inner(batch, forward)
            weight = penalised[source.seed("matrix") % len(penalised)]
            return task + self.rank_penalty * nuclear_norm(weight, state.chosen[weight]), output

        return replace(hooks, loss=loss)


class _Mask:
    """The entries that train, and what the others are."""

    def __init__(self, method: SaRA, chosen: Mapping[nn.Parameter, Tensor]) -> None:
        self.method, self.chosen = method, dict(chosen)
        self.start = {p: p.detach().clone() for p in chosen}
        self.updates = 0

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        if self.method.threshold and self.method.again_after and self.updates == self.method.again_after:
            self._choose_again(optimizer)
        for parameter, mask in self.chosen.items():
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        self.updates += 1
        for parameter, mask in self.chosen.items():  # weight decay has moved the others
            parameter.copy_(torch.where(mask, parameter, self.start[parameter]))

    def _choose_again(self, optimizer: Optimizer) -> None:
        for parameter, mask in self.chosen.items():
            self.start[parameter] = parameter.detach().clone()
            self.chosen[parameter] = mask & small_entries(parameter.detach(), 1.0, self.method.threshold)
            for moment in optimizer.state[parameter].values():
                if isinstance(moment, Tensor):
                    moment.zero_()
