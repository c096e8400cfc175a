"""Groups, both forms of AdamW and the schedule against naive float64 loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from hype_bench.config import ModelConfig, TrainingSettings
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier
from hype_bench.training.optimizer import (
    clip_gradients,
    learning_rate_factor,
    make_optimizer,
    make_schedule,
    parameter_groups,
    total_steps,
    warmup_steps,
)

SETTINGS = TrainingSettings(
    learning_rate=2e-3, batch_size=16, epochs=3, max_steps=None, warmup_ratio=0.1, warmup_steps=None, weight_decay=0.1,
    adam_betas=(0.9, 0.99), adam_epsilon=1e-5, max_grad_norm=1.0, dropout=0.1, optimizer="adamw", precision="fp32",
    gradient_accumulation_steps=1, gradient_checkpointing=False, packing="auto", cuda_graphs="auto", evaluate_every=0,
    save="none",
)  # fmt: skip


def naive(form: str, start: list[float], gradients: list[list[float]], decay: float) -> list[float]:
    """One entry at a time, as methods.md 1.5 (adamw_hf) and Loshchilov and Hutter 2019 (adamw) write it."""
    p, m, v = list(start), [0.0] * len(start), [0.0] * len(start)
    lr, (b1, b2), eps = SETTINGS.learning_rate, SETTINGS.adam_betas, SETTINGS.adam_epsilon
    for t, gradient in enumerate(gradients, start=1):
        for i, g in enumerate(gradient):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            if form == "adamw_hf":
                p[i] -= lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m[i] / (math.sqrt(v[i]) + eps)
                p[i] -= lr * decay * p[i]
            else:
                p[i] -= lr * decay * p[i]
                p[i] -= lr * (m[i] / (1 - b1**t)) / (math.sqrt(v[i] / (1 - b2**t)) + eps)
    return p


@pytest.mark.parametrize("scale", [1.0, 1e-5])
@pytest.mark.parametrize("form", ["adamw", "adamw_hf"])
def test_steps_against_a_naive_loop(form: str, scale: float) -> None:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(n, dtype=torch.float64)) for n in (3, 1, 4)]
    starts = [w.tolist() for w in weights]
    decays = [0.1, 0.1, 0.0]
    groups = [{"params": weights[:2], "weight_decay": 0.1}, {"params": weights[2:], "weight_decay": 0.0}]
    optimizer = make_optimizer(groups, replace(SETTINGS, optimizer=form))
    history: list[list[list[float]]] = [[], [], []]
    for _ in range(3):
        for weight, past in zip(weights, history, strict=True):
            weight.grad = scale * torch.randn_like(weight)
            past.append(weight.grad.tolist())
        optimizer.step()
    for weight, start, past, decay in zip(weights, starts, history, decays, strict=True):
        expected = torch.tensor(naive(form, start, past, decay), dtype=torch.float64)
        torch.testing.assert_close(weight.detach(), expected, atol=1e-13, rtol=0)


def test_three_steps_of_the_optimizer_of_transformers_4(parity: Callable[[str], Any]) -> None:
    """Recorded from a clone of transformers 4.x's AdamW in float32; with small epsilon, decay after the update."""
    p, q = (torch.nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in ([0.5, -1.0, 2.0, 0.25], [1.0, 1.0]))
    settings = replace(SETTINGS, optimizer="adamw_hf", learning_rate=0.01, adam_betas=(0.9, 0.999), adam_epsilon=1e-6)
    optimizer = make_optimizer([{"params": [p], "weight_decay": 0.1}, {"params": [q], "weight_decay": 0.0}], settings)
    for step in parity("child_tuning")["none_mode_is_plain_AdamW"]:
        p.grad, q.grad = (torch.tensor(step[key], dtype=torch.float64) for key in ("grad_p", "grad_q"))
        optimizer.step()
        for weight, key in ((p, "p"), (q, "q")):
            torch.testing.assert_close(weight.detach(), torch.tensor(step[key], dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("decays", [True, False])
def test_bert_as_released_has_no_bias_correction(decays: bool, parity: Callable[[str], Any]) -> None:
    case = parity("adam_without_bias_correction")
    settings = replace(SETTINGS, optimizer="adam_without_bias_correction", learning_rate=case["learning_rate"],
                       adam_betas=tuple(case["betas"]), adam_epsilon=case["eps"])  # fmt: skip
    p = torch.tensor(case["p"], dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([{"params": [p], "weight_decay": case["weight_decay"] if decays else 0.0}], settings)
    expected = case["trajectory_decayed" if decays else "trajectory_not_decayed"]
    for gradient, weights in zip(case["gradients"], expected, strict=True):
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        torch.testing.assert_close(p.detach(), torch.tensor(weights, dtype=torch.float64), atol=1e-9, rtol=0)


def test_small_gradients_take_half_the_first_step_with_the_papers_form() -> None:
    """methods.md 0.4: with epsilon 1e-5 and gradients near it, epsilon before the correction weighs ten times more."""
    moved = {}
    for form in ("adamw", "adamw_hf"):
        weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        weight.grad = torch.full_like(weight, 1e-4)
        make_optimizer([{"params": [weight], "weight_decay": 0.0}], replace(SETTINGS, optimizer=form)).step()
        moved[form] = float(weight.detach())
    assert moved["adamw_hf"] / moved["adamw"] == pytest.approx(0.55, abs=0.01)


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_decay_spares_biases_and_layer_norms(family: str) -> None:
    """DeBERTa's too, a class of its own that the Trainer of transformers 4.7 did not know."""
    checkpoint = locate(ModelConfig(name=family, checkpoint=f"tiny:{family}", family=family))
    model = load_classifier(checkpoint, 2, 0.1, 0)
    if family == "bert":
        model.classifier_frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    decayed, plain = parameter_groups(model, 1e-3, 0.1)
    names = {id(p): n for n, p in model.named_parameters()}
    spared = {names[id(p)] for p in plain["params"]}
    assert spared == {n for n, p in model.named_parameters() if p.requires_grad and
                      ("bias" in n or "LayerNorm.weight" in n or "layer_norm.weight" in n)}  # fmt: skip
    assert len(spared) + len(decayed["params"]) == sum(p.requires_grad for p in model.parameters())
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_schedule_is_transformers_own() -> None:
    from transformers import get_linear_schedule_with_warmup

    weight = torch.nn.Parameter(torch.zeros(1))
    ours_optimizer, theirs_optimizer = (torch.optim.SGD([weight], lr=1.0) for _ in range(2))
    ours, theirs = make_schedule(ours_optimizer, 30, 4), get_linear_schedule_with_warmup(theirs_optimizer, 4, 30)
    for done in range(30):
        assert ours.get_last_lr() == theirs.get_last_lr() == [learning_rate_factor(done, 30, 4)]
        for optimizer, schedule in ((ours_optimizer, ours), (theirs_optimizer, theirs)):
            optimizer.step()
            schedule.step()


def test_steps_and_warm_up_where_they_are_given() -> None:
    fixed = replace(SETTINGS, epochs=None, max_steps=800, warmup_ratio=None, warmup_steps=200)
    assert (total_steps(2490, fixed), warmup_steps(800, fixed)) == (800, 200)
    assert total_steps(100, replace(SETTINGS, epochs=0.5)) == 4  # ceil(0.5 * 7)
    assert learning_rate_factor(0, 10, 0) == 1.0
    assert learning_rate_factor(10, 10, 0) == 0.0


@pytest.mark.parametrize("most", [0.5, 1e3, 0.0])
def test_clipping_is_torchs(most: float) -> None:
    torch.manual_seed(0)
    ours: list[torch.Tensor] = [torch.nn.Parameter(torch.randn(shape)) for shape in ((300, 7), (5,), ())]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    for p, q in zip(ours, theirs, strict=True):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    ours.append(torch.nn.Parameter(torch.ones(2)))  # without a gradient
    clip_gradients(ours, most)
    torch.nn.utils.clip_grad_norm_(theirs, most or math.inf)
    for p, q in zip(ours, theirs, strict=False):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=0)
    assert ours[-1].grad is None
