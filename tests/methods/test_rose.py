"""ROSE against its formulas in NumPy: quantiles, both saliencies and the masked update, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, forward_of, objective
from hype_bench.methods.rose import ROSE, second_order_saliency, within_quantiles
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, still, tiny
from tests.methods.by_hand import FORMS, RATES, Adam, Array, Way, copied, follow

Masks = dict[str, float]
LOWER, UPPER = 0.2, 0.7


def masked(name: str) -> bool:
    """methods.md 23: weight tensors of the layers; ``LayerNorm`` alone is no "layer"."""
    return "layer" in name and "weight" in name


def inside(saliency: Masks, lower: float = LOWER, upper: float = UPPER) -> Masks:
    low, high = np.quantile(list(saliency.values()), [lower, upper])
    return {name: float(low <= value <= high) for name, value in saliency.items()}


def divergence_norms(model: Any, dropout: float) -> Masks:
    """First-order saliency from two passes of a copy of the model: norms of the gradient of (KL12 + KL21) / 4."""
    batch, copy = batch_of(3), deepcopy(model)
    for name, module in copy.named_modules():
        if isinstance(module, torch.nn.Dropout) and not name.endswith("attention.self.dropout"):
            module.p = dropout
    first, second = (forward_of(copy)(batch).logits.exp() for _ in range(2))
    p, q = (z / z.sum(1, keepdim=True) for z in (first, second))
    assert dropout == 0 or not torch.equal(p, q)
    kl = ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 4
    weights = {name: w for name, w in copy.named_parameters() if masked(name)}
    gradients = torch.autograd.grad(kl, list(weights.values()))
    return {name: math.sqrt(float((g**2).sum())) for name, g in zip(weights, gradients, strict=True)}


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 0.5), (0.2, 0.7), (0.3, 0.3), (0.0, 1.0), (0.5, 0.9)])
@pytest.mark.parametrize("count", [5, 11, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantiles_are_numpys(lower: float, upper: float, count: int, dtype: torch.dtype) -> None:
    values = torch.randperm(count, generator=torch.Generator().manual_seed(0)).to(dtype)
    low, high = np.quantile(values.double().numpy(), [lower, upper])
    expected = [float(low - 1e-5 <= v <= high + 1e-5) for v in values.tolist()]  # quantiles of float32 are not exact
    within = within_quantiles(values, lower, upper)
    assert within.tolist() == expected
    assert within.dtype == dtype


def test_equal_saliencies_are_all_within() -> None:
    assert within_quantiles(torch.ones(4), 0.2, 0.4).tolist() == [1.0] * 4


def test_second_order_saliency_against_a_loop() -> None:
    torch.manual_seed(0)
    gradients, moments = torch.rand(2, 7, dtype=torch.float64) + 0.1
    saliency = second_order_saliency(gradients, moments)
    for value, g, m in zip(saliency.tolist(), gradients.tolist(), moments.tolist(), strict=True):
        assert value == pytest.approx(abs(0.1 * g / m - 1), rel=1e-13)


def in_numpy(ways: dict[str, Way], form: str, masks_at: Callable[[int, dict[str, Adam]], Masks]) -> None:
    """Takes the steps of all parameters with these masks and compares them with where the updates took them."""
    adams = {name: Adam(form) for name in ways}
    places = {name: way.start for name, way in ways.items()}
    for t in range(len(ways["classifier.weight"].ends)):
        masks, rate = masks_at(t + 1, adams), RATES[t]
        for name, way in ways.items():
            mask, adam = masks.get(name, 1.0), adams[name]
            gradient = mask * way.gradients[t] + (1 - mask) * adam.m
            p = places[name] - rate * mask * adam.direction(gradient)
            places[name] = p - rate * way.decay * mask * p
            np.testing.assert_allclose(way.ends[t], places[name], atol=1e-13, rtol=0, err_msg=f"{name} at {t + 1}")


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", ["first", "second", "ensemble"])
def test_four_updates_in_numpy(variant: str, form: str, warmup: int) -> None:
    """Masked gradient g M + (1 - M) m, step and decay times M, from the update after warm-up on. The mean of both
    masks may be a fraction; before there are moments the second mask keeps everything."""
    model, gamma = still(tiny("bert")), 0.25
    method = ROSE(variant=variant, lower=LOWER, upper=UPPER, gamma=gamma, kl_dropout=0.3)
    firsts: list[Masks] = []
    used: list[Masks] = []

    def before(update: int) -> None:
        torch.manual_seed(update)
        firsts.append(divergence_norms(model, 0.3) if update > warmup else {})
        torch.manual_seed(update)

    ways = follow(method, form, model, Context(warmup=warmup), updates=4, before=before)

    def masks_at(update: int, adams: dict[str, Adam]) -> Masks:
        if update <= warmup:
            return {}
        names = [name for name in ways if masked(name)]
        second = dict.fromkeys(names, 1.0)
        if update > 1 and variant != "first":
            norms = {name: np.linalg.norm(ways[name].gradients[update - 1]) for name in names}
            second = inside({n: abs(0.1 * norms[n] / np.linalg.norm(adams[n].m) - 1) for n in names})
        first = inside(firsts[update - 1])
        mean = {name: (1 - gamma) * second[name] + gamma * first[name] for name in names}
        used.append({"first": first, "second": second, "ensemble": mean}[variant])
        return used[-1]

    in_numpy(ways, form, masks_at)
    values = {value for masks in used for value in masks.values()}
    assert values == ({0.0, 0.25, 0.75, 1.0} if variant == "ensemble" else {0.0, 1.0})


def test_the_defaults_leave_out_the_more_fragile_half() -> None:
    """lower 0, upper 0.5: of 24 tensors the 12 with the smallest gradient of the divergence are trained."""
    model = still(tiny("bert"))
    torch.manual_seed(1)
    norms = divergence_norms(model, 0.1)
    torch.manual_seed(1)
    ways = follow(ROSE(variant="first"), "adamw", model, Context(), updates=1)
    moved = {name for name in norms if not np.array_equal(ways[name].ends[0], ways[name].start)}
    assert moved == set(sorted(norms, key=lambda name: norms[name])[:12])
    losses = {name: float(np.linalg.norm(ways[name].gradients[0])) for name in norms}
    assert moved != set(sorted(losses, key=lambda name: losses[name])[:12]), "the task's gradient would say another set"


def test_nothing_but_plain_steps_before_warm_up_ends() -> None:
    ways = follow(ROSE(), "adamw_hf", still(tiny("bert")), Context(warmup=3), updates=3)
    for name, way in ways.items():
        p, adam = way.start, Adam("adamw_hf")
        for rate, gradient, end in zip(RATES, way.gradients, way.ends, strict=False):
            p = adam.step(p, gradient, rate, way.decay)
            np.testing.assert_allclose(end, p, atol=1e-14, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("variant", "passes"), [("first", [1, 1, 3, 3]), ("second", [1] * 4), ("ensemble", [1, 1, 3, 3])]
)
def test_passes_of_an_update(variant: str, passes: list[int]) -> None:
    """Two more passes for the divergence, only where it is asked for and only after warm-up; they differ."""
    model = tiny("bert").train()
    hooks = compose({"rose": ROSE(variant=variant)}, model, Context(warmup=2))
    groups = hooks.parameter_groups([{"params": list(model.parameters()), "lr": 1e-3, "weight_decay": 0.0}])
    optimizer = torch.optim.AdamW(groups)
    logits: list[Tensor] = []

    def forward(batch: Batch) -> Any:
        output = forward_of(model)(batch)
        logits.append(output.logits.detach())
        return output

    def inner(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward, objective)[0]
        loss.backward()
        return loss.detach()

    for count in passes:
        logits.clear()
        hooks.backward([batch_of(3)], inner)
        assert len(logits) == count
        assert count == 1 or not torch.equal(logits[0], logits[1])
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)


def test_the_divergence_leaves_no_gradient_and_no_dropout_behind() -> None:
    """The gradient of the update is that of a plain pass, bit for bit, at the same point of torch's generator."""
    batch, model = batch_of(3), tiny("bert").train()
    plain = deepcopy(model)
    hooks = compose({"rose": ROSE(variant="first", kl_dropout=0.4)}, model, Context())
    hooks.parameter_groups([{"params": list(model.parameters()), "lr": 1e-3, "weight_decay": 0.0}])

    def inner(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    torch.manual_seed(3)
    loss = hooks.backward([batch], inner)
    torch.manual_seed(3)
    divergence_norms(plain, 0.4)
    expected, _ = objective(batch, forward_of(plain))
    expected.backward()
    assert loss.item() == expected.item()
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), name
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}


def test_without_any_dropout_nothing_diverges_and_everything_is_trained() -> None:
    ends: list[dict[str, Array]] = []
    for method in (ROSE(variant="first", kl_dropout=0.0), ROSE(variant="first", lower=0.0, upper=1.0)):
        model = still(tiny("bert"))
        follow(method, "adamw_hf", model, Context(), updates=2)
        ends.append({name: copied(p) for name, p in model.named_parameters()})
    for name in ends[0]:
        np.testing.assert_allclose(ends[0][name], ends[1][name], atol=1e-15, rtol=0, err_msg=name)


def test_a_regression_diverges_by_the_squared_difference() -> None:
    batch, model = batch_of(1), still(tiny("bert", 1))
    batch["labels"] = batch["labels"].double()
    twin = deepcopy(model)
    for name, module in twin.named_modules():
        if isinstance(module, torch.nn.Dropout) and not name.endswith("attention.self.dropout"):
            module.p = 0.3
    torch.manual_seed(2)
    first, second = (forward_of(twin)(batch).logits for _ in range(2))
    weights = {name: w for name, w in twin.named_parameters() if masked(name)}
    gradients = torch.autograd.grad(((first - second) ** 2).mean(), list(weights.values()))
    expected = inside({name: float(g.norm()) for name, g in zip(weights, gradients, strict=True)}, 0.0, 0.5)

    method = ROSE(variant="first", kl_dropout=0.3)
    hooks = compose({"rose": method}, model, Context())
    groups = hooks.parameter_groups([{"params": list(model.parameters()), "lr": 1e-3, "weight_decay": 0.0}])
    optimizer, before = torch.optim.AdamW(groups), {name: copied(p) for name, p in model.named_parameters()}

    def inner(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    torch.manual_seed(2)
    hooks.backward([batch], inner)
    hooks.before_step(optimizer)
    optimizer.step()
    hooks.after_step(optimizer)
    for name, p in model.named_parameters():
        assert np.array_equal(copied(p), before[name]) == (expected.get(name) == 0.0), name


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"variant": "third"}, "variant must be one of first, second, ensemble"),
        ({"lower": -0.1}, "lower must be at least 0 and at most 1"),
        ({"upper": 1.1}, "upper must be at least 0 and at most 1"),
        ({"gamma": 1.5}, "gamma must be at least 0 and at most 1"),
        ({"kl_dropout": 1.0}, "kl_dropout must be at least 0 and below 1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        ROSE(**options)
