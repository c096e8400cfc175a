"""DoRA, LoRA+, VeRA and IA3: what peft computes is their formula, in a pass, in its gradient's reach and merged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.method import Method
from hype_bench.contract.registry import build
from hype_bench.methods.dora import DoRA, decomposed
from hype_bench.methods.ia3 import IA3
from hype_bench.methods.lora_plus import LoRAPlus
from hype_bench.methods.vera import VeRA, change
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, logits_of, still, tiny, train

QUERY = "bert.encoder.layer.1.attention.self.query"


def trained_and_merged(method: Method, places: dict[str, Any]) -> dict[str, Tensor]:
    """Trains a tiny model; the merged weights, of which ``places`` has the formula of some and the rest stays."""
    model, batch = still(tiny("bert")), batch_of(3)
    for name, p in model.named_parameters():
        p.data.add_(0.1 if name.endswith("bias") else 0.0)  # they start at 0
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    plain = logits_of(model, batch)
    hooks = compose({"it": method}, model, context_of(batch))
    torch.testing.assert_close(logits_of(model, batch), plain, atol=1e-12, rtol=0)
    list(train(model, hooks, batch, 3, lr=0.1))
    trained, expected = logits_of(model, batch), {}
    for name, formula in places.items():
        module = model.get_submodule(name)
        expected |= {f"{name}.{part}": w.detach() for part, w in formula(module, start, name).items()}
    plain_weights = hooks.plain_weights(model.state_dict())
    hooks.finish()
    torch.testing.assert_close(logits_of(model, batch), trained, atol=1e-12, rtol=0)
    after = dict(model.named_parameters())
    assert plain_weights.keys() == model.state_dict().keys()
    for name, weight in after.items():
        torch.testing.assert_close(plain_weights[name], weight.detach(), atol=1e-12, rtol=0)
        if name in expected:
            assert not torch.equal(weight, start[name]), name
            torch.testing.assert_close(weight.detach(), expected[name], atol=1e-12, rtol=0)
    assert {name for name, p in after.items() if not torch.equal(p, start[name])} >= {"classifier.weight"}
    return {name: p for name, p in after.items() if not torch.equal(p, start[name])}


def test_dora() -> None:
    def formula(module: Any, start: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        product = module.lora_B["default"].weight @ module.lora_A["default"].weight
        magnitude = module.lora_magnitude_vector["default"].weight
        return {"weight": decomposed(start[f"{name}.weight"], 16 / 4 * product, magnitude)}

    moved = trained_and_merged(DoRA(rank=4, alpha=16.0), {QUERY: formula})
    assert f"{QUERY}.weight" in moved
    assert not any("key" in name or "dense" in name for name in moved)


def test_no_gradient_goes_through_the_norm() -> None:
    """Peft's gradient of B is that of the formula."""
    model = still(tiny("bert"))
    compose({"dora": DoRA(rank=4)}, model, context_of(batch_of(3)))
    module: Any = model.get_submodule(QUERY)
    a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
    magnitude = module.lora_magnitude_vector["default"].weight
    b.data.add_(0.1)
    x = torch.linspace(-1, 1, 96, dtype=torch.float64).view(3, 32)
    by_formula = torch.autograd.grad(
        (x @ decomposed(module.base_layer.weight, 2 * b @ a, magnitude).T).sin().sum(), [a, b]
    )
    by_peft = torch.autograd.grad((module(x) - module.base_layer.bias).sin().sum(), [a, b])
    for one, other in zip(by_formula, by_peft, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_vera_shares_matrices_that_follow_from_the_seed() -> None:
    def formula(module: Any, start: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        outputs, inputs = module.base_layer.weight.shape
        b, a = module.vera_B["default"][:outputs], module.vera_A["default"][:, :inputs]
        scales = module.vera_lambda_b["default"], module.vera_lambda_d["default"]
        return {"weight": start[f"{name}.weight"] + change(b, a, *scales)}

    names = [QUERY, "bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.2.output.dense"]
    trained_and_merged(VeRA(rank=6, target="all"), dict.fromkeys(names, formula))
    drawn = []
    for seed in (1, 1, 2):
        model = tiny("bert")
        compose({"vera": VeRA(rank=6)}, model, context_of(batch_of(3), seed=seed))
        drawn.append(model.get_submodule(QUERY).vera_A["default"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_ia3() -> None:
    def outputs(module: Any, start: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        factor = module.ia3_l["default"].flatten()
        return {"weight": factor[:, None] * start[f"{name}.weight"], "bias": factor * start[f"{name}.bias"]}

    def inputs(module: Any, start: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        return {"weight": start[f"{name}.weight"] * module.ia3_l["default"].flatten()}

    layer = "bert.encoder.layer.1"
    places = {f"{layer}.attention.self.{part}": outputs for part in ("key", "value")} | {
        f"{layer}.output.dense": inputs
    }
    moved = trained_and_merged(IA3(), places)
    parts = {name.partition(".layer.1.")[2] for name in moved} - {""}
    assert parts == {"attention.self.key.weight", "attention.self.key.bias", "attention.self.value.weight",
                     "attention.self.value.bias", "output.dense.weight"}  # fmt: skip
    with pytest.raises(UserError, match="ia3 is not available for xlnet"):
        compose({"ia3": IA3()}, tiny("xlnet"), context_of(batch_of(3)))


@pytest.mark.parametrize(("method", "spared"), [(DoRA(), "lora_magnitude_vector"), (IA3(), "ia3_l"), (VeRA(), "none")])
def test_decay_does_not_pull_what_starts_elsewhere_than_at_0(method: Method, spared: str) -> None:
    model = tiny("bert")
    hooks = compose({"it": method}, model, context_of(batch_of(3)))
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = hooks.parameter_groups([{"params": trained, "weight_decay": 0.1}])
    without = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    assert {id(p) for name, p in model.named_parameters() if spared in name} == without


def test_lora_plus_raises_the_rate_of_b_alone() -> None:
    model = tiny("bert")
    hooks = compose({"it": LoRAPlus(ratio=5.0)}, model, context_of(batch_of(3)))
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = hooks.parameter_groups([{"params": trained, "lr": 0.1, "weight_decay": 0.1}])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    expected = {id(p): 0.5 if ".lora_B." in name else 0.1 for name, p in model.named_parameters() if p.requires_grad}
    assert rates == expected
    assert {group["weight_decay"] for group in groups} == {0.1}


def test_they_exclude_each_other() -> None:
    with pytest.raises(UserError, match="dora and vera cannot be combined"):
        build({"dora": {}, "vera": {}})
