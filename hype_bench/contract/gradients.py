"""Gradients of several passes, for techniques that do not simply add them up."""

from __future__ import annotations

from torch import Tensor, nn

Gradients = dict[nn.Parameter, Tensor]


def take_gradients(model: nn.Module) -> Gradients:
    """What passes have left in ``.grad``, which is empty afterwards."""
    gradients = {p: p.grad for p in model.parameters() if p.grad is not None}
    for parameter in gradients:
        parameter.grad = None
    return gradients


def add_gradients(gradients: Gradients, factor: float = 1.0) -> None:
    """Adds them to what is in ``.grad``; they are used up."""
    for parameter, gradient in gradients.items():
        scaled = gradient if factor == 1 else gradient.mul_(factor)
        parameter.grad = scaled if parameter.grad is None else parameter.grad.add_(scaled)
