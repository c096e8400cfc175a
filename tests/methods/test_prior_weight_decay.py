"""Prior weight decay against its formula in NumPy: before the step, with the scheduled rate, head included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.methods.prior_weight_decay import PriorWeightDecay, decay_towards
from hype_bench.testing.tiny import still, tiny
from tests.methods.by_hand import FORMS, RATES, Adam, follow


def test_against_a_loop_over_entries() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(shape, dtype=torch.float64) for shape in ((4, 3), (5,), (2, 2))]
    priors = [torch.randn_like(w) for w in weights]
    before = [w.clone() for w in weights]
    decay_towards(weights, priors, 0.3)
    for w, prior, old in zip(weights, priors, before, strict=True):
        for decayed, p0, p in zip(*(x.flatten().tolist() for x in (w, prior, old)), strict=True):
            assert decayed == pytest.approx(p - 0.3 * (p - p0), rel=0, abs=1e-15)


@pytest.mark.parametrize("form", FORMS)
def test_four_updates_in_numpy(form: str) -> None:
    """Biases and LayerNorm have no decay; every other weight, the head's too, decays towards where it began."""
    ways = follow(PriorWeightDecay(), form, still(tiny("bert")), Context(), updates=4)
    assert ways["classifier.weight"].decay > 0
    for name, way in ways.items():
        p, adam = way.start, Adam(form)
        for t, (gradient, end) in enumerate(zip(way.gradients, way.ends, strict=True)):
            p = p - RATES[t] * way.decay * (p - way.start)
            p = p - RATES[t] * adam.direction(gradient)
            np.testing.assert_allclose(end, p, atol=1e-14, rtol=0, err_msg=f"{name} at {t}")


def test_without_gradients_the_distance_shrinks_geometrically() -> None:
    """The prior is what fine-tuning began with, and nothing else pulls; the group without decay stays."""
    model: Any = torch.nn.Linear(3, 2).double()
    hooks = compose({"prior_weight_decay": PriorWeightDecay()}, model, Context())
    groups = [
        {"params": [model.weight], "lr": 0.5, "weight_decay": 0.2},
        {"params": [model.bias], "lr": 0.5, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(hooks.parameter_groups(groups), 0.5)
    prior = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.data += torch.randn_like(p)
        p.grad = torch.zeros_like(p)
    displaced = [p.detach().clone() for p in model.parameters()]
    for _ in range(5):
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
    expected = prior[0] + 0.9**5 * (displaced[0] - prior[0])
    torch.testing.assert_close(model.weight.detach(), expected, atol=1e-14, rtol=0)
    assert torch.equal(model.bias, displaced[1])
