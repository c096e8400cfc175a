"""SAGE against its formulas in NumPy: which weights, which factor, and decay by the rate before the schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.contract.context import Context
from hype_bench.methods.sage import SAGE, learning_rate_factor, sensitivity
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, fine_tuned, still, tiny
from tests.methods.by_hand import EPSILON, FORMS, LR, RATES, Adam, follow

KINDS = ("attention.self", "attention.output.dense", "output.dense", "intermediate.dense")  # methods.md 12


def guided(name: str) -> bool:
    return any(kind in name for kind in KINDS)


@pytest.mark.parametrize(("step", "beta3"), [(1, 0.75), (2, 0.6), (7, 0.9), (3, 0.0)])
def test_sensitivity_and_factor_against_a_loop_over_entries(step: int, beta3: float) -> None:
    torch.manual_seed(0)
    weight, gradient, average = torch.randn(3, 4, 5, dtype=torch.float64)
    (now,), average = sensitivity([weight], [gradient]), average.abs()
    (factor,) = learning_rate_factor([now], [average], step, beta3, 0.3)
    parts = (weight, gradient, average, now, factor)
    for w, g, mean, seen, scale in zip(*(x.flatten().tolist() for x in parts), strict=True):
        importance, corrected = abs(w * g), mean / (1 - beta3**step)
        assert seen == importance
        expected = abs(importance - corrected) / (corrected + 0.3 * 0.3)
        assert scale == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_weight_that_the_loss_does_not_feel_has_factor_zero() -> None:
    """Not 0 / 0: epsilon squared stands in the denominator."""
    zero = torch.zeros(2, dtype=torch.float64)
    (factor,) = learning_rate_factor([zero], [zero], 3, 0.75, 1e-8)
    assert factor.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("form", FORMS)
def test_four_updates_in_numpy(form: str) -> None:
    """Linear maps of the layers: a factor on Adam's step. Then decay at the full rate, of all weights."""
    beta3 = 0.6
    ways = follow(SAGE(beta3=beta3), form, still(tiny("bert")), Context(), updates=4)
    assert 0 < sum(map(guided, ways)) < len(ways)
    for name, way in ways.items():
        p, adam, mean = way.start, Adam(form), np.zeros_like(way.start)
        for t, (gradient, end) in enumerate(zip(way.gradients, way.ends, strict=True), start=1):
            importance = np.abs(p * gradient)
            mean = beta3 * mean + (1 - beta3) * importance
            corrected = mean / (1 - beta3**t)
            factor = np.abs(importance - corrected) / (corrected + EPSILON**2) if guided(name) else 1.0
            p = p - RATES[t - 1] * factor * adam.direction(gradient)
            p = p - LR * way.decay * p
            np.testing.assert_allclose(end, p, atol=1e-13, rtol=0, err_msg=f"{name} at {t}")


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_at_the_first_update_only_decay_moves_the_guided_weights(family: str) -> None:
    ways = follow(SAGE(), "adamw", still(tiny(family)), Context(), updates=1)
    for name, way in ways.items():
        only_decayed = np.allclose(way.ends[0], way.start * (1 - LR * way.decay), atol=1e-15, rtol=0)
        assert only_decayed == guided(name), name


def test_without_a_schedule_decay_takes_the_optimizers_rate() -> None:
    """A loop of one's own may have none: here a rate of 3e-3 and a decay of 0.01 in one update."""
    start = tiny("bert")
    model, _ = fine_tuned({"sage": SAGE()}, "bert", batch_of(3), count=1)
    before, after = (m.bert.encoder.layer[1].intermediate.dense.weight.detach() for m in (start, model))
    torch.testing.assert_close(after, before * (1 - 3e-3 * 0.01), atol=1e-8, rtol=0)
    assert float((after - before).abs().max()) > 1e-7


@pytest.mark.parametrize("beta3", [1.0, -0.1])
def test_options_that_cannot_be(beta3: Any) -> None:
    with pytest.raises(UserError, match="beta3 must be at least 0 and below 1"):
        SAGE(beta3=beta3)
