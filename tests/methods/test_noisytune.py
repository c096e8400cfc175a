"""NoisyTune against the published numbers and a loop over entries."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hype_bench.config import ModelConfig
from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.noise import NoiseSource
from hype_bench.methods.noisytune import NoisyTune, perturb_weight
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier


def classifier(outputs: int = 1) -> Any:
    return load_classifier(locate(ModelConfig(name="t", checkpoint="tiny:bert", family="bert")), outputs, 0.1, 0)


@pytest.mark.parametrize("strength", [0.1, 0.15, 0.2])
def test_published_numbers(strength: float, parity: Callable[[str], Any]) -> None:
    case = parity("noisytune")
    weight, draw = (torch.tensor(case[key], dtype=torch.float64) for key in ("W", "U_in_0_1"))
    expected = torch.tensor(case[f"noised_lambda_{strength:g}"], dtype=torch.float64)
    torch.testing.assert_close(perturb_weight(weight, draw, strength), expected, atol=1e-10, rtol=0)


def test_against_a_loop_over_entries() -> None:
    torch.manual_seed(1)
    weight, draw = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    spread = statistics.stdev(weight.flatten().tolist())
    for noised, w, u in zip(*(t.flatten().tolist() for t in (perturb_weight(weight, draw, 0.3), weight, draw)),
                            strict=True):  # fmt: skip
        assert noised == pytest.approx(w + (u - 0.5) * 0.3 * spread, abs=1e-14)


@pytest.mark.parametrize("scope", ["backbone", "all"])
def test_what_moves(scope: str) -> None:
    """Constant tensors and single entries stay; the head moves only with ``scope="all"``; nothing becomes NaN."""
    model = classifier()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = torch.get_rng_state()
    compose({"noisytune": NoisyTune(scope=scope)}, model, Context(seed=1)).finish()
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in model.named_parameters():
        in_scope = scope == "all" or name.startswith("bert.")
        spread = before[name].numel() > 1 and float(before[name].std()) > 0
        assert torch.equal(parameter, before[name]) != (in_scope and spread), name
        shift = (parameter - before[name]).abs().max()
        if spread:
            assert shift <= 0.075 * before[name].std() * (1 + 1e-5)


def test_strength_zero_is_vanilla_bit_for_bit() -> None:
    model = classifier()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    compose({"noisytune": NoisyTune(strength=0.0, scope="all")}, model, Context(seed=1)).finish()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_law_on_a_million_draws() -> None:
    weight = torch.randn(1000, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shift = perturb_weight(weight, NoiseSource(0, "t").uniform(weight, "w"), 0.15) - weight
    expected = 0.15 * float(weight.std()) / 12**0.5
    assert abs(float(shift.mean())) < 4 * expected / 1000
    assert float(shift.std()) == pytest.approx(expected, rel=0.005)
