"""GreenTrainer: the released code's costs, importance and choices; a choice within a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hype_bench.contract.registry import build
from hype_bench.methods.greentrainer import (
    GreenTrainer,
    backward_share,
    best_subset,
    importance,
    in_units,
    official_subset,
)
from hype_bench.models.tensor_costs import cost, tensor_costs
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, fine_tuned, tiny
from tests.methods.toys import TanhLayer, ToyEncoder, close, hooked, one_backward, tensor


def value_of(case: Any, mask: list[bool]) -> float:
    """The sum of what is chosen, which stays within the budget."""
    depth = max((k + 1 for k, chosen in enumerate(mask) if chosen), default=0)
    own = sum(cost for cost, chosen in zip(case["t_dw"], mask, strict=True) if chosen)
    assert own + sum(case["t_dy"][:depth]) <= case["budget"]
    return float(sum(gain for gain, chosen in zip(case["importance"], mask, strict=True) if chosen))


def test_choices(parity: Callable[[str], Any]) -> None:
    for case in parity("greentrainer")["selection"]["cases"]:
        problem = case["t_dy"], case["t_dw"], case["importance"], case["budget"]
        assert value_of(case, best_subset(*problem)) == case["optimum_by_enumeration"]
        official = official_subset(*problem)
        assert value_of(case, official) == case["value"]
        assert list(map(int, official)) == case["mask"]
    assert best_subset([3, 1], [1, 1], [1.0, 1.0], 2) == official_subset([3, 1], [1, 1], [1.0, 1.0], 2) == [False] * 2


def test_costs_of_tensors(parity: Callable[[str], Any]) -> None:
    """Those of the released table but for what the card says: embeddings, and where the attention maps count."""
    case = parity("greentrainer")["flops"]
    for (name, shape), passing, own in zip(
        case["names_and_shapes"], case["t_dy_gflops"], case["t_dw_gflops"], strict=True
    ):
        kind = {"weight": "map", "bias": "bias"}[name.rpartition(".")[2]]
        if "norm" in name:
            kind = {"map": "gain", "bias": "offset"}[kind]
        if "embed" not in name and name not in ("0.attn.v_proj.bias", "final_layer_norm.bias"):
            computed = cost(kind, shape, case["length"] * case["batch"])
            close(tensor(computed[:2]) / 1e9, [passing, own], 1e-18)
    total = sum(case["t_dy_gflops"]) + sum(case["t_dw_gflops"])
    for rho, share in case["backward_rho"].items():
        assert backward_share(float(rho), case["forward_gflops"], total) == pytest.approx(share, abs=1e-12)
    case = parity("greentrainer")["downscale"]
    total = sum(case["t_dy"]) + sum(case["t_dw"])
    assert in_units(case["t_dy"], total) == case["t_dy_q"]
    assert in_units(case["t_dw"], total) == case["t_dw_q"]


@pytest.mark.parametrize("number", [0, 1])
def test_importance_in_a_run(number: int, parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the network of the file: what the technique measures in its first update, and what it does with it."""
    case = parity("greentrainer")["importance"]
    expected = case["cases"][number]["importance"]
    weights, none = case["weights"], [0.0] * 4
    layers = [TanhLayer(weights[key], none) for key in ("l0", "l1")]
    model: Any = ToyEncoder(case["x"], layers, weights["out"], [0.0] * 3)
    model.config.hidden_size = 4
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() > 1 and parameter is not model.encoder.embeddings.weight)
    layers[0].map.weight.requires_grad_(number == 0)
    method = GreenTrainer(rho=0.4, search="official")
    hooks = hooked(method, model, examples=4)
    measured: list[Any] = []

    def recorded(gradients: Any, steps: Any) -> Any:
        measured.append(importance(gradients, steps))
        return measured[-1]

    monkeypatch.setattr("hype_bench.methods.greentrainer.importance", recorded)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], case["lr"])
    one_backward(hooks, model, {"input_ids": torch.arange(4)[:, None], "labels": torch.tensor(case["labels"])})
    hooks.before_step(optimizer)
    optimizer.step()
    stepped = {name: p.detach().clone() for name, p in model.named_parameters()}
    hooks.after_step(optimizer)
    close(measured[0], expected if number == 0 else expected[1:])
    for name, p in model.named_parameters():
        assert torch.equal(p, (stepped if p.requires_grad else before)[name])
        assert bool(optimizer.state.get(p)) == (p.grad is not None) == p.requires_grad, "a frozen tensor has moments"
    assert model.classifier.weight.requires_grad, "the head trains whatever it costs"
    assert not layers[0].map.weight.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_costs_of_a_model_are_those_of_its_arithmetic(family: str) -> None:
    """Without embeddings and attention maps, the linear maps of all layers; the head reads one token."""
    model = tiny(family)
    costs = tensor_costs(model, 10.0)
    assert costs.keys() == set(model.parameters())
    head = list(model.parameters())[-2]
    assert costs[head] == (head.numel(), head.numel(), head.numel())
    maps = 4 * 10.0**2 * model.config.hidden_size
    bulky = [p for p, c in costs.items() if c.passing == c.own + maps > maps]
    assert len(bulky) == model.config.num_hidden_layers


def test_a_small_budget_ends_the_backward_pass_early() -> None:
    """In two intervals of a run: half of the tensors are frozen and stay bit for bit."""
    before = dict(tiny("bert").named_parameters())

    model, _ = fine_tuned(build({"greentrainer": {"rho": 0.5, "interval": 4.0}}), "bert", batch_of(3), 4)
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert "bert.encoder.layer.0.attention.self.query.weight" in still
    assert "classifier.weight" not in still
    assert len(still) > len(before) / 3


def test_the_number_of_examples_must_be_known() -> None:
    with pytest.raises(UserError, match="give examples="):
        hooked(GreenTrainer(), tiny("bert"))
