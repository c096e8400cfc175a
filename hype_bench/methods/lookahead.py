"""Lookahead (Zhang et al., NeurIPS 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, number, register
from hype_bench.options import Affects


def slow_step(slow: list[Tensor], fast: list[Tensor], alpha: float) -> None:
    """Both are ``slow + alpha (fast - slow)`` afterwards.

    Reference: Zhang, Lucas, Hinton and Ba 2019, "Lookahead Optimizer: k steps forward, 1 step back", arXiv:1907.08610
    """
    torch._foreach_lerp_(slow, fast, alpha)
    torch._foreach_copy_(fast, slow)


@register("lookahead")
@dataclass(frozen=True)
class Lookahead(Method):
    r"""Lookahead: every few updates the weights go part of the way back to where they were.

    The slow weights, which take such a step every k updates, are what is scored at the end.

    Args:
        k: updates between two steps of the slow weights.
        alpha: how far the slow weights go to the fast ones; 0.8 in the released code, 0.5 also in the paper.

    Equation:
        \phi \leftarrow \phi + \alpha (\theta - \phi), \; \theta \leftarrow \phi \quad \text{every } k \text{ updates}

    Reference:
        Zhang, Lucas, Hinton and Ba 2019, *Lookahead Optimizer: k steps forward, 1 step back*, NeurIPS 2019,
        https://arxiv.org/abs/1907.08610; code: michaelrzhang/lookahead, commit c4fd85f

    Differences:
        The moments of Adam are left alone: the other two choices of the released code crash with Adam or do nothing to
        it. Updates after the last multiple of k do not count, as the slow weights are scored. With a learning rate that
        falls to 0 the last steps are tiny.

    Cost:
        One pass per update and one copy of the weights.

    When it helps:
        The paper reports faster and steadier training from scratch.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"k": 1, "alpha": 1.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"k": 2}
    k: int = number(5, least=1, affects=Affects.NUMBERS | Affects.PACE)
    alpha: float = number(0.8, above=0, most=1)

    exclusive = frozenset({Exclusive.SCORED_WEIGHTS})
    acts_on = frozenset({Part.WEIGHTS_BEFORE_STEP, Part.WEIGHTS_AFTER_STEP})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_SlowWeights(self, model))


class _SlowWeights:
    def __init__(self, method: Lookahead, model: PreTrainedModel) -> None:
        self.method, self.model = method, model
        self.fast: list[Tensor] = []
        self.slow: list[Tensor] = []
        self.updates = 0

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        if self.updates == 0:
            self.fast = [p for p in self.model.parameters() if p.requires_grad]
            self.slow = [p.detach().clone() for p in self.fast]

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        self.updates += 1
        if self.updates % self.method.k == 0:
            slow_step(self.slow, self.fast, self.method.alpha)

    @torch.no_grad()
    def finish(self) -> None:
        if self.updates:
            torch._foreach_copy_(self.fast, self.slow)
