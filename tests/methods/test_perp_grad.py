"""The perpendicular gradient: the released code's projections and trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hype_bench.methods.perp_grad import PerpGrad, perpendicular
from tests.methods.toys import close, hooked, tensor


def test_projected_gradients(parity: Callable[[str], Any]) -> None:
    case = parity("perp_grad")
    gradients = case["gradients_by_step"][case["projected_uses_step"]]
    for weight, gradient, expected in zip(case["parameters"], gradients, case["projected"], strict=True):
        close(perpendicular(tensor(weight), tensor(gradient)), expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_trajectories(name: str, parity: Callable[[str], Any]) -> None:
    case = parity("perp_grad")
    places = [0, 1, 3]
    model = torch.nn.Module()
    model.weights = torch.nn.ParameterList([torch.nn.Parameter(tensor(case["parameters"][i])) for i in places])
    hooks = hooked(PerpGrad(), model)
    weights = list(model.parameters())
    optimizer: Any = torch.optim.SGD(weights, 0.1)
    if name == "adamw":
        optimizer = torch.optim.AdamW(weights, 0.01, weight_decay=0.1)
    for gradients, expected in zip(case["gradients_by_step"], case[f"trajectory_{name}"], strict=True):
        for weight, place in zip(weights, places, strict=True):
            weight.grad = tensor(gradients[place])
        hooks.before_step(optimizer)
        optimizer.step()
        for weight, wanted in zip(weights, expected, strict=True):
            close(weight.detach(), wanted)


def test_what_lies_along_the_weight_is_no_gradient_and_single_entries_are_spared() -> None:
    weight = tensor([1.0, 2.0, 3.0])
    close(perpendicular(weight, 0.3 * weight), [0.0, 0.0, 0.0])
    model = torch.nn.Linear(1, 1, dtype=torch.float64)
    model.weight.grad, model.bias.grad = tensor([[2.0]]), tensor([3.0])
    hooked(PerpGrad(), model).before_step(None)  # type: ignore[arg-type]
    close(model.weight.grad, [[2.0]])
    close(model.bias.grad, [3.0])
