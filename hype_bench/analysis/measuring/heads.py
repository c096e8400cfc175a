"""Linear heads on the states of frozen layers: those of all layers trained as one batched computation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam
_INITIAL_STD = 0.02


def train_heads(
    states: Float[Tensor, "layers examples width"],
    labels: Num[Tensor, " examples"],
    classes: int,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Float[Tensor, "layers outputs width_and_bias"]:
    """A linear head per layer, by Adam on cross-entropy or, without classes, on the squared error.

    Every layer's head starts from the same draw of N(0, 0.02^2), with a bias of 0, and sees the same batches, so that
    it is the same whether it is trained alone or beside others. The learning rate falls linearly to 0. The gradient
    of a linear head is written out: ``(softmax(x W) - one_hot(y))^T x``, or ``2 (x W - y)^T x``, over the batch's size.

    Args:
        states: of training examples, frozen.
        labels: classes (int64), or targets of a regression.
        classes: how many there are; 0 for a regression, which has one output.

    Returns:
        The weights, with the bias as the last column.
    """
    layers, examples, width = states.shape
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(max(classes, 1), width, generator=generator).mul_(_INITIAL_STD)
    weight = F.pad(start, (0, 1)).to(states).expand(layers, -1, -1).clone()
    targets = F.one_hot(labels, classes) if classes else labels[:, None]
    rows, targets = _with_bias(states).transpose(0, 1).contiguous(), targets.to(states.dtype)
    adam = _Adam(weight)
    total = epochs * math.ceil(examples / batch_size)
    for _ in range(epochs):
        for batch in torch.randperm(examples, generator=generator).to(rows.device).split(batch_size):
            x = rows.index_select(0, batch).transpose(0, 1)
            outputs = torch.bmm(x, weight.mT)
            error = (outputs.softmax(-1) if classes else outputs) - targets.index_select(0, batch)
            gradient = torch.bmm(error.mT, x).mul_((1 if classes else 2) / len(batch))
            adam.step(gradient, learning_rate * (1 - adam.steps / total))
    return weight


def apply_heads(
    weight: Float[Tensor, "layers outputs width_and_bias"], states: Float[Tensor, "layers examples width"]
) -> Float[Tensor, "layers examples outputs"]:
    """The logits of every layer's head, or its value for a regression."""
    return torch.bmm(_with_bias(states), weight.mT)


def _with_bias(states: Tensor) -> Tensor:
    return F.pad(states, (0, 1), value=1.0)


class _Adam:
    """Kingma and Ba 2015, on one tensor; ``torch.optim`` needs six times as long for one of this size."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.steps = weight, 0
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)

    def step(self, gradient: Tensor, learning_rate: float) -> None:
        self.steps += 1
        first, second = _BETAS
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (self.square / (1 - second**self.steps)).sqrt_().add_(_EPSILON)
        self.weight.addcdiv_(self.mean, scale, value=-learning_rate / (1 - first**self.steps))
