"""LT-SFT, composable sparse fine-tuning (Ansell et al., ACL 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, number, register
from hype_bench.contract.freeze import train_only
from hype_bench.models.layers import is_layer_norm
from hype_bench.options import Affects


def largest_entries(differences: list[Tensor], free: list[Tensor], count: int) -> list[Tensor]:
    """True at entries that are free already, and at the ``count`` largest of the others, over all tensors together.

    Args:
        differences: absolute ones, from where training began; ties with the last one are all taken.

    Reference: Ansell et al. 2022, "Composable Sparse Fine-Tuning for Cross-Lingual Transfer",
    https://aclanthology.org/2022.acl-long.125
    """
    others = torch.cat([d[~is_free] for d, is_free in zip(differences, free, strict=True)])
    threshold = others.kthvalue(len(others) - count + 1).values
    return [is_free | (d >= threshold) for d, is_free in zip(differences, free, strict=True)]


@register("lt_sft")
@dataclass(frozen=True)
class LTSFT(Method):
    r"""LT-SFT: fine-tunes twice; the second time only those entries that moved most in the first.

    After the first phase all weights go back to where they were, the head too, and optimizer and schedule start anew.
    The result is a sparse difference from the pre-trained encoder, and a head.

    Args:
        share: of the encoder's entries that are trained in the end.
        iterations: in how many steps they are chosen, each of two phases.
        full_l1, sparse_l1: weight of the distance from the start, a sum over all trained entries divided by the number
            of parameters, in the first and in the second phase.
        freeze_layer_norm: whether LayerNorms stay as they are.
        decays_masked: whether weight decay moves entries that are not trained, as in the released code.

    Equation:
        \theta = \theta_0 + m \odot \delta, \quad m = \mathrm{top}_K \left( |\theta_1 - \theta_0| \right)

    Reference:
        Ansell, Ponti, Korhonen and Vulić 2022, *Composable Sparse Fine-Tuning for Cross-Lingual Transfer*, ACL 2022,
        https://aclanthology.org/2022.acl-long.125; code: cambridgeltl/composable-sft, commit 29f7872

    Differences:
        In the released code the L1 term has no gradient, since the start it compares with follows the weights; here it
        has. Weight decay moves masked entries there, so that the difference is dense; here they stay unless
        `decays_masked`. It masks gradients before clipping, here they are masked after it. It keeps the best
        checkpoint of each phase, here each phase ends with its last weights. A run has twice the updates of the recipe
        for each iteration, which the record counts: compare it with vanilla of twice the epochs.

    Cost:
        Twice the updates for each iteration, one pass each; a copy of the weights and a mask.

    Control:
        vanilla with 2 times the epochs: the second phase.

    When it helps:
        Reported for transfer between languages, where the sparse differences of task and language are added.
    """

    tiny_options: ClassVar[Mapping[str, Any]] = {"share": 0.3}
    share: float = number(0.01, above=0, most=1)
    iterations: int = number(1, least=1, most=100, affects=Affects.NUMBERS | Affects.LENGTH)
    full_l1: float = number(0.0, least=0)
    sparse_l1: float = number(0.0, least=0)
    freeze_layer_norm: bool = False
    decays_masked: bool = False

    exclusive = frozenset({Exclusive.TRAINED_ENTRIES, Exclusive.GRADIENT_MASK, Exclusive.PHASES})
    acts_on = frozenset({Part.TRAINED_WEIGHTS, Part.GRADIENTS, Part.WEIGHTS_BEFORE_STEP, Part.WEIGHTS_AFTER_STEP})

    @property
    def phases(self) -> int:
        return 2 * self.iterations

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.freeze_layer_norm:
            norms = {p for module in model.modules() if is_layer_norm(module) for p in module.parameters()}
            train_only(model, context, lambda name, p: p not in norms)
        return Hooks.of(_Phases(self, model, context))


class _Phases:
    """Which phase it is, what is free in it, and where it began."""

    def __init__(self, method: LTSFT, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        inside = [p for p in model.base_model.parameters() if p.requires_grad]
        self.count = max(1, round(method.share * sum(p.numel() for p in inside)) // method.iterations)
        self.size = sum(p.numel() for p in model.parameters())
        self.original: dict[nn.Parameter, Tensor] = {}
        self.start: dict[nn.Parameter, Tensor] = {}  # of this iteration
        self.free: dict[nn.Parameter, Tensor] = {}  # entries of the encoder
        self.is_sparse = False

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        if not self.original:
            self.original = {p: p.detach().clone() for p in self.model.parameters() if p.requires_grad}
            self.start = dict(self.original)
            inside = set(self.model.base_model.parameters())
            self.free = {p: torch.zeros_like(p, dtype=torch.bool) for p in self.original if p in inside}
        weight = self.method.sparse_l1 if self.is_sparse else self.method.full_l1
        for parameter, original in self.original.items():
            if parameter.grad is None:
                continue
            if weight:
                parameter.grad.add_((parameter - original).sign(), alpha=weight / self.size)
            if self.is_sparse and parameter in self.free:
                parameter.grad.mul_(self.free[parameter])

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        if self.is_sparse and not self.method.decays_masked:
            for parameter, mask in self.free.items():
                parameter.copy_(torch.where(mask, parameter, self.start[parameter]))

    @torch.no_grad()
    def next_phase(self, optimizer: Optimizer) -> None:
        """From the full phase to the sparse one of an iteration, or on to the next iteration."""
        optimizer.state.clear()
        if self.is_sparse:
            self.start = {p: p.detach().clone() for p in self.start}
        else:
            differences = [(p - self.original[p]).abs() for p in self.free]
            masks = largest_entries(differences, list(self.free.values()), self.count)
            self.free = dict(zip(self.free, masks, strict=True))
            self.context.facts["trained_entries"] = sum(int(mask.sum()) for mask in masks)
            for parameter, start in self.start.items():
                parameter.copy_(start)
        self.is_sparse = not self.is_sparse
