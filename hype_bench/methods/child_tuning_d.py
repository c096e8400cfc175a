"""Child-Tuning-D (Xu et al., EMNLP 2021)."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Exclusive, Groups, Hooks, Method, Part, forward_of, register
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError, choice, number

CLIP = 1.0  # the largest norm of one tensor's gradient in the released Fisher pass


def fisher_information(
    parameters: list[Tensor], losses: Iterable[Float[Tensor, ""]], count: int, clip: float | None = None
) -> list[Tensor]:
    """The mean over ``losses`` of their squared gradients: the diagonal of the empirical Fisher information.

    Args:
        losses: with a graph, one at a time; one a sample for the paper's form, one a batch for the released.
        count: how many losses there are.
        clip: the largest norm that one tensor's gradient may have, if any.
    """
    sums = [torch.zeros_like(p) for p in parameters]
    for loss in losses:
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)  # 0 for what a pass did not use
        if clip is not None:
            norms = torch.stack(torch._foreach_norm(gradients))
            gradients = torch._foreach_mul(gradients, list((clip / (norms + 1e-6)).clamp(max=1.0)))
        torch._foreach_addcmul_(sums, gradients, gradients, 1 / count)
    return sums


def child_network(fisher: list[Tensor], reserve_p: float) -> list[Tensor]:
    """1 where the Fisher information is at least its (1 - reserve_p) quantile over all entries together, else 0.

    The quantile is numpy's linear percentile, in the precision of the entries, and ties are kept, as in the released
    code.
    """
    floats = np.dtype(str(fisher[0].dtype).removeprefix("torch.")).type
    place = (sum(f.numel() for f in fisher) - 1) * (floats((1 - reserve_p) * 100) / floats(100))
    low, high = (floats(order_statistic(fisher, int(rank(place)))) for rank in (np.floor, np.ceil))
    share = place - np.floor(place)
    threshold = low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
    return [(f >= float(threshold)).to(f.dtype) for f in fisher]


def order_statistic(tensors: list[Tensor], rank: int) -> float:
    """The entry of all tensors together that has ``rank`` others before it in ascending order.

    Without a copy of them, by bisection: as integers, the bits of floats of at least 0 are in the order of the floats.

    Args:
        tensors: of one dtype, no entry below 0.
    """
    floats = np.dtype(str(tensors[0].dtype).removeprefix("torch."))
    integers = np.dtype(f"int{8 * floats.itemsize}")

    def value(bits: int) -> float:
        return float(integers.type(bits).view(floats))

    def at_most(bits: int) -> int:
        return int(torch.stack([(t <= value(bits)).sum() for t in tensors]).sum())

    infinity = int(floats.type(np.inf).view(integers))
    return value(bisect.bisect_right(range(infinity), rank, hi=infinity, key=at_most))


@register("child_tuning_d")
@dataclass(frozen=True)
class ChildTuningD(Method):
    r"""Child-Tuning-D: only the entries of the encoder layers with the largest Fisher information are trained.

    Task-driven: these entries are chosen once, before training, and the others are frozen. Embeddings, pooler and head
    are always trained.

    Args:
        reserve_p: fraction of the entries that is trained; 0.3 in the released command, {0.1, 0.2, 0.3} in HyPe's Table
            15.
        fisher: gradients that are squared: `paper`, those of single examples; `official`, those of whole batches, each
            tensor clipped to norm 1 first, as in the released code.

    Equation:
        g \leftarrow g \odot \mathbb{1}[F \ge F_{(1-p)}], \quad F = \frac{1}{N} \sum_i \left( \nabla_\theta \log p(y_i
        \mid x_i) \right)^2

    Reference:
        Xu, Luo, Zhang, Tan, Chang, Huang and Huang 2021, *Raise a Child in Large Language Model: Towards Effective and
        Generalizable Fine-tuning*, EMNLP 2021, https://aclanthology.org/2021.emnlp-main.749; code: alibaba/AliceMind,
        commit a6d5afe, ChildTuning/

    Differences:
        The paper's Fisher information squares the gradients of single examples. The released code squares those of
        whole batches, after clipping each tensor to norm 1 (`fisher=official`), so that the result depends on the batch
        size and on the clipping. Dropout is on while the Fisher information is computed, in both forms, as in the
        released code. As in the released optimizer, the mask acts on the clipped gradient, and clipping uses the norm
        of the unmasked one. Weight decay acts on masked entries too. The released trainer ignores `warmup_ratio`, so
        its own runs had no warm-up at all; here the warm-up of the recipe applies.

    Cost:
        One pass over the training data before training, one example at a time (`official`: one batch at a time), which
        is recorded as `fisher_seconds`; then one pass per update and a fixed mask.

    When it helps:
        The paper reports about 1.5 points over vanilla on CoLA, RTE, MRPC and STS-B with BERT-large.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"reserve_p": 1.0}
    reserve_p: float = number(0.3, above=0, most=1)
    fisher: str = choice("paper", "paper", "official")

    exclusive = frozenset({Exclusive.GRADIENT_MASK, Exclusive.TRAINED_ENTRIES})
    # Its Fisher pass runs the model as it is when the technique is prepared.
    acts_on = frozenset(part for part in Part if part < Part.PARAMETER_GROUPS) | {Part.GRADIENTS}
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.reserve_p == 1:
            return Hooks()
        children = [p for layer in encoder_layers(model) for p in layer.parameters() if p.requires_grad]
        if not children:
            raise UserError("child_tuning_d has nothing to mask: no weight of the layers is trained")
        masks = child_network(self._fisher(model, children, context), self.reserve_p)
        return Hooks.of(_FixedMasks(children, masks))

    def _fisher(self, model: PreTrainedModel, parameters: list[nn.Parameter], context: Context) -> list[Tensor]:
        started, was_training = perf_counter(), model.training
        one_pass: Callable[[int | None], Iterable[Batch]] = context.needs("child_tuning_d", "batches")
        size = 1 if self.fisher == "paper" else None
        count = sum(1 for _ in one_pass(size))  # all of them together may not fit on the device
        forward = forward_of(model.train())

        def losses() -> Iterable[Tensor]:
            for number_done, batch in enumerate(one_pass(size), start=1):
                yield context.objective(batch, forward)[0]
                context.progress("Fisher information", number_done, count)

        with context.own_randomness("child_tuning_d", model):
            clip = None if self.fisher == "paper" else CLIP
            fisher = fisher_information(list(parameters), losses(), count, clip)
        model.train(was_training)
        context.facts["fisher_seconds"] = perf_counter() - started
        return fisher


@dataclass
class _FixedMasks:
    children: list[nn.Parameter]
    masks: list[Tensor]

    def parameter_groups(self, groups: Groups) -> Groups:
        if not any(p.requires_grad for p in self.children):
            raise UserError("child_tuning_d has nothing to mask: name what freezes its weights before it")
        return groups

    def before_step(self, optimizer: Optimizer) -> None:
        pairs = [(p.grad, mask) for p, mask in zip(self.children, self.masks, strict=True) if p.grad is not None]
        torch._foreach_mul_([gradient for gradient, _ in pairs], [mask for _, mask in pairs])
