"""LNSR: linear layers in closed form, BERT and XLNet with passes through wrapped layers instead of hooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, task_loss
from hype_bench.methods.lnsr import LNSR, instability
from hype_bench.options import UserError
from hype_bench.testing.tiny import logits_of, still, tiny
from tests.methods.noise_by_hand import (
    LENGTHS,
    Stack,
    alone,
    assert_as_by_hand,
    assert_close,
    assert_normal,
    attach,
    drawn,
    entered,
    layered_pass,
    packed,
    unequal,
    update_of,
)

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])


def linear(seed: int = 0) -> tuple[Stack, Batch]:
    """Three linear layers of widths 3, 4, 2, 3, and a batch of two examples of 3 and 2 tokens."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3), (2, 4), (3, 2)]
    model = Stack([torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes])
    hidden = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    return model, {"input_ids": MASK, "attention_mask": MASK, "hidden": hidden, "labels": torch.tensor([0, 1])}


def times(matrix: list[list[float]], vector: list[float]) -> list[float]:
    return [sum(a * v for a, v in zip(row, vector, strict=True)) for row in matrix]


def closed_form(matrices: list[list[list[float]]], noise: Tensor, layer: int) -> float:
    """``sum over r >= layer of || A_r .. A_layer noise ||^2``, the mean over tokens without padding."""
    total = 0.0
    for tokens, mask in zip(noise.tolist(), MASK.tolist(), strict=True):
        for token, real in zip(tokens, mask, strict=True):
            for matrix in matrices[layer:]:
                token = times(matrix, token)
                total += real * sum(v * v for v in token)
    return total / sum(map(sum, MASK.tolist()))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_closed_form_of_linear_layers(layer: int) -> None:
    """And its gradient, by differences of the closed form: none for layers below, none through the input."""
    model, batch = linear()
    attached = attach(LNSR(scale=0.5, layer=layer, weight=0.7), model.train())
    loss = attached.loss(batch)
    (draw,) = drawn(attached)
    matrices = [linear.weight.tolist() for linear in model.layers]
    expected = 0.7 * closed_form(matrices, 0.5 * draw, layer)
    task = task_loss(model(**batch).logits, batch["labels"])
    assert (loss - task).item() == pytest.approx(expected, rel=1e-12)
    assert expected > 0.1

    loss.backward()
    whole = [linear.weight.grad.clone() for linear in model.layers]
    model.zero_grad()
    task_loss(model(**batch).logits, batch["labels"]).backward()
    for index, (gradient, module) in enumerate(zip(whole, model.layers, strict=True)):
        for row in range(len(matrices[index])):
            for column in range(len(matrices[index][0])):
                values = []
                for step in (1e-4, -1e-4):
                    moved = [[list(r) for r in matrix] for matrix in matrices]
                    moved[index][row][column] += step
                    values.append(0.7 * closed_form(moved, 0.5 * draw, layer))
                slope = (values[0] - values[1]) / 2e-4
                ours = float(gradient[row, column] - module.weight.grad[row, column])
                assert ours == pytest.approx(slope, abs=1e-8, rel=1e-8)
                assert (slope == 0) == (index < layer)


def test_with_linear_layers_the_input_does_not_matter() -> None:
    penalties = []
    for factor in (1.0, -3.0):
        model, batch = linear()
        batch["hidden"] = factor * batch["hidden"]
        attached = attach(LNSR(scale=0.5), model.train())
        penalties.append((attached.loss(batch) - task_loss(model(**batch).logits, batch["labels"])).item())
    assert penalties[0] == pytest.approx(penalties[1], rel=1e-12)


def test_instability_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    clean, noised = (
        [torch.randn(2, 4, width, dtype=torch.float64, generator=generator) for width in (3, 5)] for _ in range(2)
    )
    total = 0.0
    for a, b in zip(clean, noised, strict=True):
        for x, y, mask in zip(a.tolist(), b.tolist(), MASK.tolist(), strict=True):
            for u, v, real in zip(x, y, mask, strict=True):
                total += sum((p - q) ** 2 for p, q in zip(u, v, strict=True)) if real else 0.0
    assert instability(clean, noised, MASK.bool()).item() == pytest.approx(total / 5, rel=1e-12)
    assert instability(clean, clean, MASK.bool()).item() == 0.0


def update_by_hand(model: Any, batch: Batch, draw: Tensor, method: LNSR) -> Tensor:
    logits, clean = layered_pass(model, batch)
    _, noised = layered_pass(model, batch, into={method.layer: lambda hidden: hidden + method.scale * draw})
    loss = task_loss(logits, batch["labels"])
    for a, b in zip(clean[method.layer :], noised[method.layer :], strict=True):
        difference = (a - b).transpose(0, 1) if model.config.model_type == "xlnet" else a - b
        loss = loss + method.weight * (difference[batch["attention_mask"].bool()] ** 2).sum() / sum(LENGTHS)
    loss.backward()
    return loss


@pytest.mark.parametrize("outputs", [3, 1], ids=["classification", "regression"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
@pytest.mark.parametrize("layer", [0, 2])
def test_against_passes_by_hand(layer: int, family: str, outputs: int) -> None:
    """Loss, gradients, and the weights after one and three updates of a padded batch."""
    batch, method = unequal(outputs, family), LNSR(scale=0.5, layer=layer, weight=0.1)

    def by_hand(model: Any, draws: Iterator[Tensor], _: Any) -> Tensor:
        return update_by_hand(model, batch, next(draws), method)

    assert_as_by_hand(method, family, batch, by_hand, loss=1e-12, gradient=1e-12, losses=1e-10, weights=1e-9)


def test_with_dropout_only_the_layers_above_the_noise_count() -> None:
    """Both passes have the same masks, so that layers below are the same; by hand with those masks."""
    batch, method = unequal(), LNSR(scale=0.5, layer=2)
    model = tiny("bert").double().train()
    attached = attach(method, model)
    torch.manual_seed(6)
    loss = attached.loss(batch)
    attached.hooks.finish()
    (draw,) = drawn(attached)

    def forward(into: Any = None) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(6)
        return layered_pass(model, batch, into)

    logits, clean = forward()
    _, noised = forward({2: lambda hidden: hidden + 0.5 * draw})
    assert all(torch.equal(a, b) == (layer < 2) for layer, (a, b) in enumerate(zip(clean, noised, strict=True)))
    added = instability(clean[2:], noised[2:], batch["attention_mask"].bool())
    assert loss.item() == pytest.approx((task_loss(logits, batch["labels"]) + added).item(), rel=1e-12)


def test_without_noise_nothing_is_added() -> None:
    model, batch = still(tiny("bert")), unequal()
    plain = task_loss(logits_of(model, batch), batch["labels"]).item()
    silent, loud = (attach(LNSR(scale=scale), model).loss(batch).item() for scale in (0.0, 1e-2))
    assert silent == plain
    assert loud > plain


def test_two_passes_and_the_task_is_scored_on_the_clean_one() -> None:
    model, batch, passes = still(tiny("bert")), unequal(), list[Tensor]()
    plain = logits_of(model, batch)
    attached = attach(LNSR(scale=0.5, weight=1e-9), model)
    model.register_forward_hook(lambda _, args, output: passes.append(output.logits.detach()))
    loss = attached.loss(batch)
    assert torch.equal(passes[0], plain)
    assert not torch.equal(passes[1], plain)
    assert len(passes) == 2
    assert loss.item() == pytest.approx(task_loss(plain, batch["labels"]).item(), abs=1e-6)


@pytest.mark.parametrize("layer", [3, 24])
def test_a_layer_that_does_not_exist(layer: int) -> None:
    with pytest.raises(UserError, match=r"lnsr\.layer must be at most 2"):
        attach(LNSR(layer=layer), tiny("bert"))
    with pytest.raises(UserError, match="at least 0"):
        LNSR(layer=-1)


def test_noise_is_normal_in_a_million_draws() -> None:
    """At the input of its layer, in the second pass alone."""
    model = Stack([torch.eye(100, dtype=torch.float64)] * 3).train()
    ids = torch.ones(100, 100, dtype=torch.long)
    batch = {"input_ids": ids, "hidden": torch.zeros(100, 100, 100, dtype=torch.float64), "labels": ids[0]}
    noises = []
    for seed in (3, 4):
        passes = entered(LNSR(scale=0.2, layer=1), model, 1, batch, updates=2, seed=seed)
        assert not passes[0].any()
        assert not passes[2].any()
        noises += [passes[1], passes[3]]
    assert_normal(noises, 0.2)


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_padding_is_nothing_and_tokens_count_alike(family: str) -> None:
    """Same noise at every token: what a batch adds is the mean over tokens of what its examples add alone."""
    batch = unequal(3, family)
    whole = added(family, batch)
    assert_close(added(family, unequal(3, family, padding=33)), whole, atol=0)
    examples = [added(family, alone(batch, index))["loss"].item() for index in range(4)]
    mean = sum(n * one for n, one in zip(LENGTHS, examples, strict=True)) / sum(LENGTHS)
    assert mean == pytest.approx(whole["loss"].item(), rel=1e-5)
    if family == "bert":
        assert_close(added(family, packed(batch)), whole, atol=1e-10)


def added(family: str, batch: Batch) -> dict[str, Tensor]:
    """What the technique adds to the loss, and the gradients of the sum."""
    plain, whole = (update_of(family, method, batch) for method in (Method(), LNSR(scale=0.5)))
    return whole | {"loss": whole["loss"] - plain["loss"]}
