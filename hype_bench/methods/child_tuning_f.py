"""Child-Tuning-F (Xu et al., EMNLP 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, NoiseSource, Part, register
from hype_bench.models.layers import word_embeddings
from hype_bench.options import number


@register("child_tuning_f")
@dataclass(frozen=True)
class ChildTuningF(Method):
    r"""Child-Tuning-F: each update trains a new random subset of all weights.

    Task-free: at each update, every entry of the gradient is kept with probability p and divided by p, or set to zero.

    Args:
        reserve_p: probability p of keeping an entry; HyPe's Table 15 searches {0.2, 0.3, 0.4}.

    Equation:
        g \leftarrow g \odot M / p, \quad M \sim \mathrm{Bernoulli}(p)

    Reference:
        Xu, Luo, Zhang, Tan, Chang, Huang and Huang 2021, *Raise a Child in Large Language Model: Towards Effective and
        Generalizable Fine-tuning*, EMNLP 2021, https://aclanthology.org/2021.emnlp-main.749; code: alibaba/AliceMind,
        commit a6d5afe, ChildTuning/

    Differences:
        `reserve_p` is the probability of keeping an entry, although HyPe's Table 15 calls it the mask probability. As
        in the released optimizer, the mask acts on the clipped gradient, and clipping uses the norm of the unmasked
        one. Weight decay acts on masked entries too. The released trainer ignores `warmup_ratio`, so its own runs had
        no warm-up at all; here the warm-up of the recipe applies.

    Cost:
        One pass per update and one random mask over the parameters.

    When it helps:
        The paper reports scores slightly above vanilla on small tasks, and below Child-Tuning-D.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"reserve_p": 1.0}
    reserve_p: float = number(0.3, above=0, most=1)

    exclusive = frozenset({Exclusive.GRADIENT_MASK})
    acts_on = frozenset({Part.GRADIENTS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.reserve_p == 1:
            return Hooks()
        table = word_embeddings(model)
        state = _FreshMasks(self.reserve_p, model, table, context.noise("child_tuning_f"))
        context.until_finish(table.register_forward_pre_hook(state._note))
        return Hooks.of(state)


@dataclass
class _FreshMasks:
    """On a CPU, of the embedding table only the rows that were looked up are masked: the others have no gradient."""

    reserve_p: float
    model: PreTrainedModel
    table: nn.Module
    source: NoiseSource
    looked_up: list[Tensor] = field(default_factory=list)

    def _note(self, table: nn.Module, args: tuple[Any, ...]) -> None:
        if table.training and args[0].device.type == "cpu":
            self.looked_up.append(args[0].flatten())

    def before_step(self, optimizer: Optimizer) -> None:
        self.source.next_forward()
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        if self.table.weight.device.type == "cpu":
            self._mask_each(gradients)
        else:  # a draw for each tensor, and asking the device for the rows, would cost more than it saves
            masks = self.source.keep_each(gradients, self.reserve_p)
            torch._foreach_mul_(list(gradients.values()), list(masks.values()))

    def _mask_each(self, gradients: dict[str, Tensor]) -> None:
        rows = torch.cat(self.looked_up).unique() if self.looked_up else None
        self.looked_up.clear()
        for name, gradient in gradients.items():
            if gradient is self.table.weight.grad and rows is not None:
                gradient[rows] = self.source.keep_(gradient[rows], self.reserve_p, name)
            else:
                self.source.keep_(gradient, self.reserve_p, name)
