"""RecAdam against the released code's numbers and against its formulas in NumPy, with both forms of AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.methods.recadam import RecAdam, recall, share_of_task
from hype_bench.options import UserError
from hype_bench.testing.tiny import still, tiny
from hype_bench.training.optimizer import AdamWHF
from tests.methods.by_hand import FORMS, RATES, Adam, follow

PRETRAINED, START = [0.4, -1.1, 2.1], [0.5, -1.0, 2.0]
SCHEDULES = ("sigmoid", "linear", "constant")


class Encoder(torch.nn.Module):
    """One weight a list of numbers, all of them part of the encoder."""

    def __init__(self, *weights: list[float]) -> None:
        super().__init__()
        given = [torch.nn.Parameter(torch.tensor(w, dtype=torch.float64)) for w in weights]
        self.base_model = torch.nn.ParameterList(given)


def prepared(method: RecAdam, *weights: list[float]) -> tuple[Any, Composed, Any]:
    """A stand-in whose pre-trained weights are these; learning rate 2e-5, decay 0.1, as in the published numbers."""
    model: Any = Encoder(*weights)
    hooks = compose({"recadam": method}, model, Context())
    groups = hooks.parameter_groups([{"params": list(model.parameters()), "lr": 2e-5, "weight_decay": 0.1}])
    return model, hooks, AdamWHF(groups, 2e-5, (0.9, 0.999), 1e-8)


def share_by_hand(schedule: str, t: int, k: float, t0: float, w: float) -> float:
    return {"sigmoid": w / (1 + math.exp(-k * (t - t0))), "linear": w * t / t0 if t < t0 else w, "constant": w}[
        schedule
    ]


def test_published_schedules(parity: Callable[[str], Any]) -> None:
    cases = parity("recadam")
    settings = {"k0.5_t0250": (0.5, 250), "k0.1_t01000": (0.1, 1000), "k0.05_t0100": (0.05, 100)}
    assert settings.keys() == cases["lambda_sigmoid"].keys()
    for key, values in cases["lambda_sigmoid"].items():
        for step, expected in values.items():
            share = share_of_task(int(step), "sigmoid", *settings[key], 1.0)
            assert share == pytest.approx(expected, rel=1e-10, abs=0), (key, step)
    for step, expected in cases["lambda_linear_t0_250"].items():
        assert share_of_task(int(step), "linear", 0.5, 250, 1.0) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("w", "key"),
    [(1.0, "trajectory_w1_k0.5_t0_2_cof5000_lr2e-5_wd0.1"), (0.0, "trajectory_w0_plain_adamw")],
)
def test_published_trajectories(w: float, key: str, parity: Callable[[str], Any]) -> None:
    model, hooks, optimizer = prepared(RecAdam(k=0.5, t0=2.0, pull=5000.0, w=w), PRETRAINED)
    (weight,) = model.parameters()
    weight.data = torch.tensor(START, dtype=torch.float64)
    for t, expected in enumerate(parity("recadam")[key]):  # the file's gradients count updates from 0
        gradient = [0.3 * math.cos(1.1 * i + t) for i in range(3)]
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
        assert weight.tolist() == pytest.approx(expected, rel=0, abs=1e-10), t


@pytest.mark.parametrize("w", [1.0, 0.3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_against_their_formulas(schedule: str, w: float) -> None:
    for k, t0 in ((0.5, 10.0), (0.05, 3.5), (1.0, 1.0)):
        for t in (1, 2, 3, 4, 9, 10, 11, 40):
            expected = share_by_hand(schedule, t, k, t0, w)
            assert share_of_task(t, schedule, k, t0, w) == pytest.approx(expected, rel=1e-14, abs=0)


def test_a_sigmoid_far_from_its_middle_does_not_overflow() -> None:
    assert share_of_task(1, "sigmoid", 1.0, 1e6, 1.0) == 0.0
    assert share_of_task(10**6, "sigmoid", 1.0, 1.0, 0.5) == 0.5


@pytest.mark.parametrize(("share", "w"), [(0.2, 1.0), (0.9, 1.0), (0.1, 0.4), (0.4, 0.4)])
def test_one_step_against_a_loop_over_entries(share: float, w: float) -> None:
    torch.manual_seed(0)
    weight, adam, pretrained = torch.randn(3, 5, 4, dtype=torch.float64)
    (recalled,) = recall([weight], [adam], [pretrained], share, w, 0.07)
    for new, p, q, p0 in zip(*(x.flatten().tolist() for x in (recalled, weight, adam, pretrained)), strict=True):
        moved = p + share * (q - p)  # Adam's step is q - p
        assert new == pytest.approx(moved - 0.07 * (w - share) * (moved - p0), rel=0, abs=1e-14)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("schedule", "w"), [("sigmoid", 1.0), ("linear", 0.6), ("constant", 0.6)])
def test_three_updates_in_numpy(schedule: str, w: float, form: str) -> None:
    """Pull with the scheduled rate on the weight that Adam has moved, decay last; the head takes Adam's steps."""
    k, t0, pull = 0.8, 2.5, 300.0
    method = RecAdam(schedule=schedule, k=k, t0=t0, pull=pull, w=w)
    ways = follow(method, form, still(tiny("bert")), Context())
    for name, way in ways.items():
        p, adam = way.start, Adam(form)
        for t, (gradient, end) in enumerate(zip(way.gradients, way.ends, strict=True), start=1):
            rate, step = RATES[t - 1], adam.direction(gradient)
            if name.startswith("bert."):
                share = share_by_hand(schedule, t, k, t0, w)
                p = p - rate * share * step
                p = p - rate * pull * (w - share) * (p - way.start)
            else:
                p = p - rate * step
            p = p - rate * way.decay * p
            np.testing.assert_allclose(end, p, atol=1e-13, rtol=0, err_msg=f"{name} at {t}")


def test_the_head_takes_the_steps_of_transformers_adamw() -> None:
    ways = follow(RecAdam(t0=2.0, pull=300.0), "adamw_hf", still(tiny("bert")), Context())
    heads = {name: way for name, way in ways.items() if name.startswith("classifier.")}
    assert set(heads) == {"classifier.weight", "classifier.bias"}
    for way in heads.values():
        p, adam = way.start, Adam("adamw_hf")
        for rate, gradient, end in zip(RATES, way.gradients, way.ends, strict=False):
            p = adam.step(p, gradient, rate, way.decay)
            np.testing.assert_allclose(end, p, atol=1e-14, rtol=0)


def test_a_weight_without_a_gradient_is_neither_pulled_nor_decayed() -> None:
    model, hooks, optimizer = prepared(RecAdam(t0=2.0), PRETRAINED, PRETRAINED)
    moved, left = model.parameters()
    for weight in (moved, left):
        weight.data = torch.tensor(START, dtype=torch.float64)
    moved.grad = torch.zeros_like(moved)
    hooks.before_step(optimizer)
    optimizer.step()
    hooks.after_step(optimizer)
    assert left.tolist() == START
    assert all(p != q for p, q in zip(moved.tolist(), START, strict=True))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"k": 0.0}, "k must be above 0"),
        ({"t0": 0.0}, "t0 must be above 0"),
        ({"pull": -1.0}, "pull must be at least 0"),
        ({"w": 1.5}, "w must be at least 0 and at most 1"),
        ({"schedule": "cosine"}, "schedule must be one of sigmoid, linear, constant"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        RecAdam(**options)
