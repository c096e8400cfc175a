"""A step of a technique's own in place of the optimizer's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hype_bench.contract.foreach import together

Group = dict[str, Any]  # one parameter group of an optimizer
Tensors = list[Tensor]
Step = Callable[[Tensors, Tensors, Group], Tensors]  # weights after and before the optimizer's step -> where they go
Decay = Callable[[Tensors, Group], None]  # in place


def decay_rate(group: Group) -> float:
    """Learning rate times weight decay, as in AdamW."""
    return float(group["lr"] * group["decay_after"])


def decay(weights: Tensors, group: Group) -> None:
    """As in AdamW."""
    torch._foreach_mul_(weights, 1 - decay_rate(group))


class OwnStep:
    """The optimizer steps without weight decay; then its step is replaced, and weights decay.

    Call :meth:`take_decay` on the parameter groups, :meth:`remember` before the step and :meth:`replace` after it.
    """

    def __init__(self) -> None:
        self.before: dict[Tensor, Tensor] = {}

    def take_decay(self, groups: list[Group]) -> list[Group]:
        """The groups without weight decay for the optimizer, which is kept under ``decay_after``."""
        return [{**group, "decay_after": group["weight_decay"], "weight_decay": 0.0} for group in groups]

    @torch.no_grad()
    def remember(self, parameters: Iterable[Tensor]) -> None:
        """Keeps the weights before the step where it is to be replaced; without a gradient there is no step."""
        moving = [p for p in parameters if p.grad is not None]
        copies = [torch.empty_like(p) for p in moving]
        if moving:
            torch._foreach_copy_(copies, moving)
        self.before = dict(zip(moving, copies, strict=True))

    @torch.no_grad()
    def replace(self, optimizer: Optimizer, step: Step, decay: Decay = decay) -> None:
        """Moves the weights that were remembered to where ``step`` says, and lets all decay."""
        for group in optimizer.param_groups:
            for weights in together([p for p in group["params"] if p.grad is not None]):
                if moved := [p for p in weights if p in self.before]:
                    torch._foreach_copy_(moved, step(moved, [self.before[p] for p in moved], group))
                if group["decay_after"]:
                    decay(weights, group)
        self.before.clear()
