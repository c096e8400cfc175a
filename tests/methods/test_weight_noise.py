"""Weight noise, AWP and gradient noise: the released codes' gradients and trajectories on a network of two maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.objective import Batch
from hype_bench.methods.awp import AWP, perturbation
from hype_bench.methods.gradient_noise import GradientNoise
from hype_bench.methods.weight_noise import WeightNoise
from tests.methods.toys import Network, close, given_noise, hooked, named_gradients, one_backward, tensor

NAMES = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")


def batch_of(inputs: Any, labels: Any) -> Batch:
    return {"inputs": tensor(inputs), "labels": torch.tensor(labels)}


def check(tensors: Any, expected: Any) -> None:
    for name, value in expected.items():
        close(tensors[name], value)


@pytest.mark.parametrize("key", ["two_sided", "one_sided_two_draws", "mixed_half"])
def test_weight_noise(key: str, parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("weight_noise")
    expected = case[key]
    noise = [dict(zip(NAMES, draw, strict=True)) for draw in expected["noise"]]
    given_noise(monkeypatch, lambda like, site: tensor(noise[int(site.split()[1]) - 1][site.split()[2]]))
    model = Network(case["weights"])
    form = "one_sided" if key == "one_sided_two_draws" else "two_sided"
    method = WeightNoise(case["sigma"], form, draws=len(noise), own_weight=expected["own_weight"])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    if key == "mixed_half":  # what earlier passes have left is still there
        model.fc1.bias.grad = torch.ones_like(model.fc1.bias)
    one_backward(hooked(method, model), model, batch_of(case["inputs"], case["labels"]))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    if key == "mixed_half":
        assert model.fc1.bias.grad is not None
        model.fc1.bias.grad -= 1
    check(named_gradients(model), expected["gradient"])
    torch.optim.SGD(model.parameters(), 0.1).step()
    check(dict(model.named_parameters()), expected["weights_after_sgd_step"])


def test_relative_noise_is_a_multiple_of_each_tensors_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    given_noise(monkeypatch, lambda like, site: torch.ones_like(like))
    model = Network({"fc1.weight": [[1.0, 3.0]], "fc1.bias": [2.0], "fc2.weight": [[0.0]], "fc2.bias": [0.0]})
    hooks = hooked(WeightNoise(0.5, "anti_pgd", relative=True), model)
    hooks.after_step(None)  # type: ignore[arg-type]
    close(model.fc1.weight, [[1.0, 3.0]])  # the same draw twice: what is added is taken back
    seen: list[Any] = []
    hooks = hooked(WeightNoise(0.5, "one_sided", relative=True), model)
    hooks.backward([], lambda pieces: seen.append(model.fc1.weight.detach().clone()) or torch.zeros(()))
    close(seen[0], [[1.5, 3.5]])


def test_anti_pgd(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("weight_noise")["anti_pgd"]
    given_noise(monkeypatch, lambda like, site: tensor(case["xi"][int(site.split()[0])]))
    model = torch.nn.Module()
    model.p = torch.nn.Parameter(tensor(case["p"]))
    hooks = hooked(WeightNoise(sigma=parity("weight_noise")["sigma"], form="anti_pgd"), model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for gradient, expected in zip(case["gradients"], case["trajectory"], strict=True):
        model.p.grad = tensor(gradient)
        optimizer.step()
        hooks.after_step(optimizer)
        close(model.p, expected)
    hooks.finish()
    close(model.p, case["without_noise_at_end"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_awp(optimizer: str, parity: Callable[[str], Any]) -> None:
    case = parity("awp")
    model = Network(case["weights"])
    stepper: Any = torch.optim.SGD(model.parameters(), 0.1)
    if optimizer == "adamw":
        stepper = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    hooks = hooked(AWP(gamma=case["gamma"], order="official", embeddings=True), model)
    for update, expected in enumerate(case[f"trajectory_{optimizer}"]):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        stepper.zero_grad()
        batch = batch_of(case["inputs"][update], case["labels"][update])
        one_backward(hooks, model, batch)
        if update == 0:
            loss = torch.nn.functional.cross_entropy(model(batch["inputs"]).logits, batch["labels"])
            close(loss.detach(), case["first"]["loss_at_perturbed"])
            check(named_gradients(model), case["first"]["gradient_at_perturbed"])
            moved = {name: p.detach() - before[name] for name, p in model.named_parameters()}
            check(moved, case["first"]["perturbation"])
        stepper.step()
        hooks.after_step(stepper)
        check(dict(model.named_parameters()), expected)


def test_awp_that_restores_first_has_the_same_gradient_and_leaves_the_weights(parity: Callable[[str], Any]) -> None:
    case = parity("awp")
    model = Network(case["weights"])
    one_backward(hooked(AWP(case["gamma"], embeddings=True), model), model,
                 batch_of(case["inputs"][0], case["labels"][0]))  # fmt: skip
    check(named_gradients(model), case["first"]["gradient_at_perturbed"])
    check(dict(model.named_parameters()), case["weights"])


def test_awp_moves_nothing_without_a_norm_or_a_gradient() -> None:
    zero: Tensor = torch.zeros(2, 2, dtype=torch.float64)
    close(perturbation(zero, zero + 1, 0.1), zero.tolist())
    close(perturbation(zero + 1, zero, 0.1), zero.tolist())


def test_gradient_noise_falls_as_the_paper_says(monkeypatch: pytest.MonkeyPatch) -> None:
    given_noise(monkeypatch, lambda like, site: torch.full_like(like, 2.0))
    model = torch.nn.Module()
    model.p, model.frozen = torch.nn.Parameter(tensor([1.0])), torch.nn.Parameter(tensor([1.0]))
    hooks = hooked(GradientNoise(eta=0.09, gamma=0.5), model)
    for update in range(4):
        model.p.grad = tensor([5.0])
        hooks.before_step(None)  # type: ignore[arg-type]
        close(model.p.grad, [5 + 2 * math.sqrt(0.09 / math.sqrt(1 + update))])
    assert model.frozen.grad is None
