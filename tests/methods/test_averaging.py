"""EMA and SWA against closed forms over the weights after every update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.methods.averaging import EMA, SWA
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, still, tiny, train
from tests.methods.by_hand import Array, copied

Weights = dict[str, Array]


def weights_of(model: Any) -> Weights:
    return {name: copied(p) for name, p in model.named_parameters()}


def averaged(methods: dict[str, Method], updates: int) -> tuple[list[Weights], Weights]:
    """The weights after every update, and those of the finished model."""
    batch, model = batch_of(3), still(tiny("bert"))
    hooks = compose(methods, model, context_of(batch, updates=updates))
    seen = [weights_of(model) for _ in train(model, hooks, batch, updates)]  # each before its own step
    seen = [*seen[1:], weights_of(model)]
    hooks.finish()
    return seen, weights_of(model)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_ema_is_its_closed_form(decay: float) -> None:
    """``d^(T-1) w_1 + (1 - d) sum_k d^(T-k) w_k``: the first weights are copied."""
    seen, averages = averaged({"ema": EMA(decay=decay)}, 6)
    shares = [decay**5, *((1 - decay) * decay ** (6 - k) for k in range(2, 7))]
    assert sum(shares) == pytest.approx(1)
    for name in averages:
        expected = sum(share * weights[name] for share, weights in zip(shares, seen, strict=True))
        np.testing.assert_allclose(averages[name], expected, atol=1e-14, rtol=0, err_msg=name)
    assert np.array_equal(averages["classifier.weight"], seen[-1]["classifier.weight"]) == (decay == 0)


@pytest.mark.parametrize(
    ("updates", "start", "every", "members"),
    [
        (8, 0.75, 1, [7, 8]),
        (8, 0.0, 1, [1, 2, 3, 4, 5, 6, 7, 8]),
        (8, 0.0, 3, [1, 4, 7]),
        (8, 0.5, 2, [5, 7]),
        (8, 0.5, 3, [5, 8]),
        (6, 0.3, 2, [2, 4, 6]),  # after 1.8 updates
        (6, 0.9, 1, [6]),  # after 5.4 updates
        (6, 0.5, 9, [4]),
        (6, 1.0, 1, [6]),  # none: the last weights stay
    ],
)
def test_swa_is_the_mean_of_its_members(updates: int, start: float, every: int, members: list[int]) -> None:
    seen, averages = averaged({"swa": SWA(start=start, every=every)}, updates)
    for name in averages:
        expected = np.mean([seen[member - 1][name] for member in members], axis=0)
        np.testing.assert_allclose(averages[name], expected, atol=1e-14, rtol=0, err_msg=name)


@pytest.mark.parametrize("method", [EMA(decay=0.5), SWA(start=0.0)], ids=["ema", "swa"])
def test_training_goes_on_as_if_nothing_was_averaged(method: Method) -> None:
    plain, last = averaged({}, 4)
    seen, averages = averaged({"mean": method}, 4)
    for one, other in zip(plain, seen, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not np.array_equal(averages["classifier.weight"], last["classifier.weight"])


@pytest.mark.parametrize("method", [EMA(decay=0.5), SWA(start=0.0)], ids=["ema", "swa"])
def test_frozen_parameters_are_left_alone(method: Method) -> None:
    """Whatever happens to a frozen parameter on the way, it ends as it last was, not as a mean of that."""
    batch, model = batch_of(3), still(tiny("bert"))
    model.bert.embeddings.requires_grad_(False)
    hooks = compose({"mean": method}, model, context_of(batch))
    for _ in train(model, hooks, batch, 4):
        model.bert.embeddings.LayerNorm.weight.data += 1
    last = weights_of(model)
    hooks.finish()
    for name, values in weights_of(model).items():
        assert np.array_equal(values, last[name]) == name.startswith("bert.embeddings."), name


@pytest.mark.parametrize("method", [EMA(), SWA(start=0.0)], ids=["ema", "swa"])
def test_a_run_without_updates_keeps_its_weights(method: Method) -> None:
    model = still(tiny("bert"))
    before = weights_of(model)
    compose({"mean": method}, model, Context(updates=5)).finish()
    assert all(np.array_equal(weight, before[name]) for name, weight in weights_of(model).items())


def test_swa_needs_the_length_of_the_run_and_ema_does_not() -> None:
    model: Any = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="swa needs to know the run's updates"):
        compose({"swa": SWA()}, model, Context())
    compose({"ema": EMA()}, model, Context())


@pytest.mark.parametrize(
    ("method", "options", "complaint"),
    [
        (EMA, {"decay": 1.5}, "decay must be at least 0 and at most 1"),
        (EMA, {"decay": -0.1}, "decay must be at least 0 and at most 1"),
        (SWA, {"start": 1.1}, "start must be at least 0 and at most 1"),
        (SWA, {"every": 0}, "every must be at least 1"),
    ],
)
def test_options_that_cannot_be(method: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        method(**options)
