"""A few updates of a tiny BERT through a technique's hooks, recorded; and Adam in NumPy to hold beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, forward_of, objective, task_loss
from hype_bench.testing.tiny import batch_of
from hype_bench.training.optimizer import AdamWHF, parameter_groups

Array = NDArray[np.float64]
LR, DECAY, BETAS, EPSILON = 2e-3, 0.1, (0.9, 0.98), 1e-5
RATES = tuple(LR * factor for factor in (0.5, 1.0, 0.25, 0.75))  # of the updates, one after another
FORMS = ("adamw", "adamw_hf")


@dataclass
class Way:
    """One parameter: its weight decay, where it began, its gradient at each update and where that took it."""

    decay: float
    start: Array
    gradients: list[Array] = field(default_factory=list)
    ends: list[Array] = field(default_factory=list)


def copied(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy().copy()
    return array


def follow(
    method: Method,
    form: str,
    model: Any,
    context: Context,
    updates: int = 3,
    before: Callable[[int], None] = lambda update: None,
) -> dict[str, Way]:
    """Fine-tunes the model as the loop does, without clipping; ``before`` is called with the number of each update."""
    hooks = compose({"method": method}, model, context)
    spared = ("bias", "LayerNorm")
    ways = {
        name: Way(0.0 if any(part in name for part in spared) else DECAY, copied(p))
        for name, p in model.named_parameters()
    }
    groups = hooks.parameter_groups(parameter_groups(model, LR, DECAY))
    optimizer: Any = (
        AdamWHF(groups, LR, BETAS, EPSILON)
        if form == "adamw_hf"
        else torch.optim.AdamW(groups, LR, BETAS, EPSILON, fused=True)
    )
    schedule = LambdaLR(optimizer, lambda done: RATES[done % len(RATES)] / LR)

    def backward(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    for update in range(1, updates + 1):
        before(update)
        hooks.backward([batch_of(3)], backward)
        for name, p in model.named_parameters():
            ways[name].gradients.append(copied(p.grad))
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
        optimizer.zero_grad()
        schedule.step()
        for name, p in model.named_parameters():
            ways[name].ends.append(copied(p))
    return ways


class Adam:
    """The moments of one parameter: ``adamw`` as Loshchilov and Hutter 2019, ``adamw_hf`` as methods.md 1.5."""

    def __init__(self, form: str, betas: tuple[float, float] = BETAS, epsilon: float = EPSILON) -> None:
        self.form, self.betas, self.epsilon, self.t = form, betas, epsilon, 0
        self.m: Any = 0.0
        self.v: Any = 0.0

    def direction(self, gradient: Array) -> Array:
        """What the learning rate multiplies."""
        (b1, b2), self.t = self.betas, self.t + 1
        self.m = b1 * self.m + (1 - b1) * gradient
        self.v = b2 * self.v + (1 - b2) * gradient**2
        c1, c2 = 1 - b1**self.t, 1 - b2**self.t
        steps: Array = (
            np.sqrt(c2) / c1 * self.m / (np.sqrt(self.v) + self.epsilon)
            if self.form == "adamw_hf"
            else self.m / c1 / (np.sqrt(self.v / c2) + self.epsilon)
        )
        return steps

    def step(self, p: Array, gradient: Array, rate: float, decay: float) -> Array:
        """The optimizer's own step with its own decay: torch's before it, that of transformers after it."""
        if self.form == "adamw_hf":
            moved = p - rate * self.direction(gradient)
            return moved - rate * decay * moved
        return p - rate * decay * p - rate * self.direction(gradient)


def train_some(model: Any, names: Collection[str], batch: Batch, count: int) -> list[float]:
    """What ``tiny.train`` does to a plain model of which only these parameters train, and its losses."""
    adams, losses = {name: Adam("adamw", (0.9, 0.999), 1e-8) for name in names}, list[float]()
    for _ in range(count):
        model.zero_grad()
        loss = task_loss(forward_of(model)(batch).logits, batch["labels"])
        loss.backward()
        losses.append(loss.item())
        for name, p in model.named_parameters():
            if name in names and p.grad is not None:
                p.data.copy_(torch.from_numpy(adams[name].step(copied(p), p.grad.numpy(), rate=3e-3, decay=0.01)))
    return losses


def with_state(model: Any, hooks: Composed, batch: Batch) -> set[str]:
    """The parameters that have a state in the optimizer after one update; just these have a gradient."""
    batch = batch | {"token_type_ids": torch.zeros_like(batch["input_ids"])}  # else XLNet has no use for its segments
    groups = hooks.parameter_groups(parameter_groups(model, LR, DECAY))
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
    task_loss(forward_of(model)(batch).logits, batch["labels"]).backward()
    hooks.before_step(optimizer)
    optimizer.step()
    hooks.after_step(optimizer)
    names = {name for name, p in model.named_parameters() if p in optimizer.state}
    assert {name for name, p in model.named_parameters() if p.grad is not None} == names
    return names
