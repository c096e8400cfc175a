"""A step of a technique's own in place of the optimizer's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Group = dict[str, Any]  # one parameter group of an optimizer
Step = Callable[[Tensor, Tensor, Group], Tensor]  # weight after and before the optimizer's step -> where it goes
Decay = Callable[[Tensor, Group], float | Tensor]  # of a weight: the part that is taken away


def decay_rate(parameter: Tensor, group: Group) -> float:
    """Learning rate times weight decay, as in AdamW."""
    return float(group["lr"] * group["decay_after"])


class OwnStep:
    """The optimizer steps without weight decay; then its step is replaced, and weights decay.

    Call :meth:`take_decay` on the parameter groups, :meth:`remember` before the step and :meth:`replace` after it.
    """

    def __init__(self) -> None:
        self.before: dict[Tensor, Tensor] = {}

    def take_decay(self, groups: list[Group]) -> list[Group]:
        """The groups without weight decay for the optimizer, which is kept under ``decay_after``."""
        return [{**group, "decay_after": group["weight_decay"], "weight_decay": 0.0} for group in groups]

    def remember(self, parameters: Iterable[Tensor]) -> None:
        """Keeps the weights before the step where it is to be replaced; without a gradient there is no step."""
        self.before = {p: p.detach().clone() for p in parameters if p.grad is not None}

    @torch.no_grad()
    def replace(self, optimizer: Optimizer, step: Step, decay: Decay = decay_rate) -> None:
        """Moves the weights that were remembered to where ``step`` says, and lets all decay."""
        for group in optimizer.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                if parameter in self.before:
                    parameter.copy_(step(parameter, self.before[parameter], group))
                parameter.mul_(1 - decay(parameter, group))
        self.before.clear()
