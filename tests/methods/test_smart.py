"""SMART against its ascent written out, with passes through wrapped layers and the released code's divergence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.attach import attach as attached_to
from hype_bench.contract.objective import Batch, task_loss
from hype_bench.methods import smart
from hype_bench.methods.smart import SMART, ascent_loss, climb, divergence
from hype_bench.testing.tiny import batch_of, logits_of, still, tiny
from tests.methods.noise_by_hand import (
    Stack,
    assert_as_by_hand,
    assert_mean_of_examples,
    assert_normal,
    assert_packed_as_padded,
    attach,
    drawn,
    entered,
    layered_pass,
    unequal,
)

PAPER = SMART(weight=0.7, radius=0.05, steps=2, step_size=0.03, init_std=0.02)
OFFICIAL = SMART(weight=0.7, steps=2, step_size=10.0, init_std=0.1, variant="official")


def two_logits(outputs: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    perturbed, clean = (torch.randn(4, outputs, dtype=torch.float64, generator=generator) for _ in range(2))
    return perturbed.requires_grad_(), clean.requires_grad_()


def released_kl(perturbed: Tensor, clean: Tensor) -> Tensor:
    """``stable_kl(perturbed, clean, reduce=False)`` of mt_dnn/loss.py: the logs, of odds, are detached."""
    p, q = perturbed.softmax(-1), clean.softmax(-1)
    log_odds_p, log_odds_q = (-torch.log(1 / (x.detach() + 1e-6) - 1 + 1e-6) for x in (p, q))
    return 2 * (p * (log_odds_p - log_odds_q)).sum()


def smoothness(perturbed: Tensor, clean: Tensor, variant: str, is_regression: bool) -> Tensor:
    if is_regression:
        return ((perturbed - clean) ** 2).mean()
    log_p, log_q = perturbed.log_softmax(-1), clean.log_softmax(-1)
    if variant == "official":
        towards_clean = (log_q.exp() * (log_q - log_p)).detach() - log_q.exp().detach() * (log_p - log_p.detach())
        towards_other = (log_p.exp() * (log_p - log_q)).detach() - log_p.exp().detach() * (log_q - log_q.detach())
        return (towards_clean + towards_other).sum() / len(clean)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum() / len(clean)


def climbed(delta: Tensor, gradient: Tensor, method: SMART) -> Tensor:
    """Token by token, entry by entry."""
    tokens = []
    for d, g in zip(delta.flatten(0, 1).tolist(), gradient.flatten(0, 1).tolist(), strict=True):
        if method.variant == "official":
            moved = [a + method.step_size * b for a, b in zip(d, g, strict=True)]
            tokens.append([v / (max(map(abs, moved)) + 1e-6) for v in moved])
        else:
            largest = max(map(abs, g)) or 1.0
            moved = [a + method.step_size * b / largest for a, b in zip(d, g, strict=True)]
            tokens.append([min(max(v, -method.radius), method.radius) for v in moved])
    return torch.tensor(tokens, dtype=delta.dtype).view(delta.shape)


def update_by_hand(model: Any, batch: Batch, draw: Tensor, method: SMART) -> Tensor:
    is_regression = batch["labels"].is_floating_point()
    clean, _ = layered_pass(model, batch)
    delta = method.init_std * draw
    for _ in range(method.steps):
        delta.requires_grad_()
        logits, _ = layered_pass(model, batch, into={0: lambda hidden, d=delta: hidden + d})
        height = smoothness(logits, clean.detach(), "paper", is_regression)
        if method.variant == "official":  # has a test of its own
            height = ascent_loss(logits, clean.detach(), "official", is_regression)
        (gradient,) = torch.autograd.grad(height, delta)
        delta = climbed(delta.detach(), gradient, method)
    logits, _ = layered_pass(model, batch, into={0: lambda hidden: hidden + delta})
    loss = task_loss(clean, batch["labels"])
    loss = loss + method.weight * smoothness(logits, clean, method.variant, is_regression)
    loss.backward()
    return loss


@pytest.mark.parametrize(("method", "outputs"), [(PAPER, 3), (PAPER, 1), (OFFICIAL, 3)],
                         ids=["paper", "paper regression", "official"])  # fmt: skip
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_against_the_ascent_by_hand(family: str, method: SMART, outputs: int) -> None:
    """Loss, gradients, and the weights after one and three updates of a padded batch."""
    batch = unequal(outputs, family)

    def by_hand(model: Any, draws: Iterator[Tensor], _: Any) -> Tensor:
        return update_by_hand(model, batch, next(draws), method)

    assert_as_by_hand(method, family, batch, by_hand, loss=1e-12, gradient=1e-12, losses=1e-9, weights=1e-8)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_regression_adds_the_mean_squared_difference(variant: str) -> None:
    """The official ascent, too, climbs squares."""
    batch, method = unequal(1), SMART(weight=0.7, steps=2, step_size=0.5, init_std=0.1, radius=0.3, variant=variant)
    model, reference = still(tiny("bert", 1)), still(tiny("bert", 1))
    attached = attach(method, model)
    loss = attached.loss(batch)
    (draw,) = drawn(attached)
    assert loss.item() == pytest.approx(update_by_hand(reference, batch, draw, method).item(), abs=1e-12)
    assert loss.item() > task_loss(logits_of(model, batch), batch["labels"]).item() + 1e-5


@pytest.mark.parametrize("method", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_one_step_of_the_ascent_against_a_loop(method: SMART) -> None:
    """A token without a gradient (padding) stays where it is, or is only normalised."""
    generator = torch.Generator().manual_seed(2)
    delta, gradient = (torch.randn(2, 5, 6, dtype=torch.float64, generator=generator) for _ in range(2))
    delta, gradient[1, 3] = 0.04 * delta, 0
    moved = climb(delta, gradient, method.step_size, method.radius, method.variant)
    torch.testing.assert_close(moved, climbed(delta, gradient, method), atol=1e-14, rtol=0)
    if method.variant == "paper":
        assert moved.abs().max() == method.radius
        assert torch.equal(moved[1, 3], delta[1, 3].clamp(-0.05, 0.05))
    else:
        assert ((moved.abs().amax(-1) < 1) & (moved.abs().amax(-1) > 0.999)).all()


def test_smoothness_against_sums_written_out() -> None:
    perturbed, clean = two_logits()
    rows = zip(perturbed.softmax(-1).tolist(), clean.softmax(-1).tolist(), strict=True)
    total = sum(a * math.log(a / b) + b * math.log(b / a) for p, q in rows for a, b in zip(p, q, strict=True)) / 4
    for variant in ("paper", "official"):
        assert divergence(perturbed, clean, variant, False).item() == pytest.approx(total, abs=1e-12)
    one, other = two_logits(1)
    squares = [(a - b) ** 2 for (a,), (b,) in zip(one.tolist(), other.tolist(), strict=True)]
    for variant in ("paper", "official"):
        assert divergence(one, other, variant, True).item() == pytest.approx(sum(squares) / 4, abs=1e-12)


def test_official_targets_are_detached() -> None:
    """Cross-entropies with fixed targets: their gradients are differences of probabilities; the paper's are not."""
    perturbed, clean = two_logits()
    divergence(perturbed, clean, "official", False).backward()
    difference = (perturbed.softmax(-1) - clean.softmax(-1)).detach() / 4
    torch.testing.assert_close(perturbed.grad, difference, atol=1e-14, rtol=0)
    torch.testing.assert_close(clean.grad, -difference, atol=1e-14, rtol=0)

    perturbed, clean = two_logits()
    divergence(perturbed, clean, "paper", False).backward()
    assert (perturbed.grad - difference).abs().max() > 0.01
    for which, gradient in ((0, perturbed.grad), (1, clean.grad)):
        for place in ((0, 0), (1, 2), (3, 1)):
            values = []
            for step in (1e-5, -1e-5):
                pair = [z.detach().clone() for z in two_logits()]
                pair[which][place] += step
                values.append(divergence(pair[0], pair[1], "paper", False).item())
            assert gradient[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-8)


def test_official_ascent_climbs_the_released_divergence() -> None:
    """methods.md 10: ``stable_kl`` summed, times 2, its logs detached, so the gradient runs through the perturbed
    probabilities; the clean output is fixed."""
    perturbed, clean = two_logits()
    ascent_loss(perturbed, clean, "official", False).backward()
    assert clean.grad is None
    ours, other = perturbed.grad.clone(), two_logits()
    released_kl(other[0], other[1].detach()).backward()
    torch.testing.assert_close(ours, other[0].grad, atol=1e-5, rtol=0)


def test_what_else_is_climbed() -> None:
    """The paper's ascent climbs what it adds, the official one of a regression the sum of squares."""
    perturbed, clean = two_logits()
    loss = ascent_loss(perturbed, clean, "paper", False)
    assert loss.item() == pytest.approx(divergence(perturbed, clean, "paper", False).item(), abs=1e-14)
    loss.backward()
    assert clean.grad is None
    perturbed, clean = two_logits(1)
    squares = [(a - b) ** 2 for (a,), (b,) in zip(perturbed.tolist(), clean.tolist(), strict=True)]
    for variant, count in (("paper", 4), ("official", 1)):
        assert ascent_loss(perturbed, clean, variant, True).item() == pytest.approx(sum(squares) / count, abs=1e-12)


def perturbations(model: Any, method: SMART, batch: Batch) -> list[Tensor]:
    """What is added to the input of the lowest layer in every pass of an update but the first."""
    clean, *others = entered(method, model, 0, batch)
    return [hidden - clean for hidden in others]


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_the_paper_s_perturbation_stays_in_its_ball(family: str) -> None:
    """The step is a hundred radii: nearly every entry of a token that is read ends on the ball's surface."""
    batch, model = unequal(3, family), still(tiny(family))
    deltas = perturbations(model, SMART(steps=2), batch)
    assert len(deltas) == 3
    assert deltas[0].abs().max() > 1.5e-5  # the normal noise to begin with is not projected
    assert deltas[2].abs().max().item() == pytest.approx(1e-5, rel=1e-8)
    real = batch["attention_mask"].bool()
    surface = (deltas[2].abs() > 0.99e-5)[real.t() if family == "xlnet" else real]
    assert surface.double().mean() > 0.8


def test_the_official_perturbation_is_of_order_one_at_every_token() -> None:
    """Its largest entry is just below 1 at the released settings, padding included, whatever the radius."""
    batch, model = unequal(), still(tiny("bert"))
    for radius in (1e-5, 1.0):
        _, delta = perturbations(model, SMART(variant="official", radius=radius, step_size=1e-5), batch)
        largest = delta.abs().amax(-1)
        assert (largest < 1).all()
        assert (largest > 0.9).all()


def test_the_ascent_climbs() -> None:
    batch, model = unequal(), still(tiny("bert"))
    clean = logits_of(model, batch)
    heights = []
    for delta in perturbations(model, SMART(radius=0.5, step_size=0.02, init_std=0.02, steps=4), batch):
        logits, _ = layered_pass(model, batch, into={0: lambda hidden, d=delta: hidden + d})
        heights.append(smoothness(logits.detach(), clean, "paper", False).item())
    assert heights == sorted(heights)
    assert heights[-1] > 2 * heights[0]


@pytest.mark.parametrize("steps", [1, 3])
def test_passes_of_an_update(steps: int) -> None:
    """A clean one, one a step, one with the final perturbation; only the first and the last are trained on."""
    model, batch, passes = still(tiny("bert")), unequal(), list[Tensor]()
    plain = logits_of(model, batch)
    attached = attach(SMART(steps=steps), model)
    model.register_forward_hook(lambda _, args, output: passes.append(output.logits.detach()))
    attached.loss(batch)
    assert len(passes) == 2 + steps
    assert torch.equal(passes[0], plain)
    assert all(not torch.equal(logits, plain) for logits in passes[1:])


def test_the_first_perturbation_is_normal_in_a_million_draws() -> None:
    model = Stack([torch.eye(100, dtype=torch.float64)]).train()
    batch = {"hidden": torch.zeros(100, 100, 100, dtype=torch.float64), "labels": torch.zeros(100, dtype=torch.long)}
    begun = []
    for seed in (3, 4):
        passes = entered(SMART(init_std=0.2), model, 0, batch, updates=2, seed=seed)
        assert not passes[0].any()
        assert not passes[3].any()
        begun += [passes[1], passes[4]]
    assert_normal(begun, 0.2)


@pytest.mark.parametrize("method", [PAPER, OFFICIAL], ids=["paper", "official"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_a_batch_is_its_examples_alone_and_padding_is_nothing(family: str, method: SMART) -> None:
    """Same noise at every token: a padded batch gives the mean of its examples alone, and a packed row too."""
    assert_mean_of_examples(family, method, atol=1e-10)
    if family == "bert":
        assert_packed_as_padded(method, atol=1e-10)


def test_nothing_in_evaluation() -> None:
    """Also not after an update, whose perturbation has been there."""
    model, batch = still(tiny("bert")), unequal()
    attached = attach(SMART(variant="official"), model)
    plain = logits_of(model.eval(), batch)
    attached.model.train()
    attached.backward(batch)
    assert torch.equal(logits_of(model.eval(), batch), plain)


def test_in_fp16_the_ascent_has_a_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the divergence, about 1e-8, passes the layers in half precision: 0 without a loss scale."""
    directions: dict[bool, list[Tensor]] = {False: [], True: []}
    batch = batch_of(3)
    for is_scaled, gradients in directions.items():
        monkeypatch.setattr(smart, "climb", lambda d, g, *_, kept=gradients: (kept.append(g), d)[1])
        scaler = torch.amp.GradScaler("cpu", enabled=is_scaled)
        torch.manual_seed(5)
        chosen = {"smart": SMART(init_std=1e-3, dropout_masks="shared")}
        model, in_fp16 = tiny("bert").train(), torch.autocast("cpu", torch.float16)
        with attached_to(chosen, model, seed=3, scaler=scaler) as attached, in_fp16:
            attached.loss(batch)
    assert not directions[False][0].any()
    assert directions[True][0].any(-1).float().mean() > 0.7
