"""PiSSA and CorDA: LoRA from the principal components of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.registry import build
from hype_bench.methods.lora import LoRA, in_context, principal, second_moment
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, logits_of, still, tiny, train
from tests.methods.toys import Maps, close, hooked, linear, tensor


def factors(model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """B, A and what is left of the weight."""
    layer = model.base_model.layer[0].query
    return layer.lora_B["default"].weight, layer.lora_A["default"].weight, layer.base_layer.weight


def test_pissa_by_the_function(parity: Callable[[str], Any]) -> None:
    case = parity("pissa")
    expected, weight = case["numpy_float64"], tensor(case["weight"])
    components = principal(weight)
    close(components.values, expected["singular_values"])
    b, a = components.factors(case["rank"], expected["scaling"])
    close(b @ a, expected["BA"])
    close(a @ a.T, expected["A_gram"])
    close(b.T @ b, expected["B_gram"])


def test_pissa_in_a_model(parity: Callable[[str], Any]) -> None:
    case = parity("pissa")
    expected, weight = case["numpy_float64"], tensor(case["weight"])
    model = Maps(linear(case["weight"], case["bias"]))
    hooks = hooked(LoRA(rank=case["rank"], alpha=float(case["rank"]), target="all", init="pissa"), model)
    b, a, residual = factors(model)
    close((b @ a).detach(), expected["BA"])
    close(residual.detach(), expected["residual"])
    close(model(tensor(case["x"])).detach(), expected["output_at_init"])
    (model(tensor(case["x"])) * tensor(case["upstream"])).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    close((b.grad @ a + b @ a.grad).detach(), expected["first_order_change"])
    start = (b @ a).detach()
    with torch.no_grad():
        b.add_(0.5)
        change = b @ a - start
    hooks.finish()
    close(model.base_model.layer[0].query.weight.detach(), (weight + change).tolist())


@pytest.mark.parametrize(
    ("key", "part"),
    [("instruction_previewed_first_r", slice(2)), ("knowledge_preserved_last_r", slice(-2, None))],
)
def test_corda_by_the_function(key: str, part: slice, parity: Callable[[str], Any]) -> None:
    case = parity("corda")
    moments = torch.stack([second_moment(tensor(x)) for x in case["activations"]])
    close(moments.sum(0) / 256, case["covariance_over_256"])
    components = in_context(tensor(case["weight"]), tensor(case["covariance_over_256"]))
    close(components.values, case["singular_values_all"])
    chosen = type(components)(components.left[:, part], components.values[part], components.right[part])
    b, a = chosen.factors(case["rank"])
    close(chosen.values, case[key]["singular_values"])
    close(b @ a, case[key]["adapter_product"])
    close(tensor(case["weight"]) - b @ a, case[key]["residual"])
    close(b.abs(), case[key]["abs_out_factor"])
    close(a.abs(), case[key]["abs_in_factor"])


def test_corda_in_a_model(parity: Callable[[str], Any]) -> None:
    """Peft's mean over the samples in place of the released sum over 256: A and B share the values otherwise."""
    case = parity("corda")
    expected = case["instruction_previewed_first_r"]
    model = Maps(linear(case["weight"], case["bias"]))
    samples = [{"x": tensor(x)[None]} for x in case["activations"]]
    method = LoRA(rank=2, alpha=2.0, target="all", init="corda", samples=len(samples))
    hooks = hooked(method, model, batches=lambda size: samples if size == 1 else [])
    b, a, residual = factors(model)
    close((b @ a).detach(), expected["adapter_product"])
    close(residual.detach(), expected["residual"])
    with torch.no_grad():
        b.div_(math.sqrt(256 / len(samples)))
        a.mul_(math.sqrt(256 / len(samples)))
    close(b.detach().abs(), expected["abs_out_factor"])
    output = model(tensor(case["x"]))
    close(output.detach(), expected["output"])
    loss = (output - tensor(case["targets"])).square().mean()
    close(loss.detach(), expected["loss"])
    loss.backward()
    torch.optim.SGD([a, b], expected["sgd_lr"]).step()
    hooks.finish()
    close(model.base_model.layer[0].query.weight.detach(), expected["merged_after_one_sgd_step"])


@pytest.mark.parametrize("init", ["pissa", "corda"])
@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_they_start_from_the_pretrained_function_and_spare_it_from_decay(init: str, rank_stabilized: bool) -> None:
    model, batch = still(tiny("bert")), batch_of(3)
    plain = logits_of(model, batch)
    method = LoRA(rank=4, alpha=16.0, init=init, samples=3, rank_stabilized=rank_stabilized)
    hooks = compose({"lora": method}, model, context_of(batch))
    assert model.training
    torch.testing.assert_close(logits_of(model, batch), plain, atol=1e-12, rtol=0)
    groups = hooks.parameter_groups([{"params": [p for p in model.parameters() if p.requires_grad], "weight_decay": 1}])
    assert [len(group["params"]) for group in groups if not group["weight_decay"]] == [2 * 2 * 3]
    list(train(model, hooks, batch, 2))
    trained = logits_of(model, batch)
    assert not torch.equal(trained, plain)
    weights = hooks.plain_weights(model.state_dict())
    hooks.finish()
    torch.testing.assert_close(logits_of(model, batch), trained, atol=1e-12, rtol=0)
    assert weights.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weights[name], weight, atol=1e-12, rtol=0)


def test_corda_reads_examples_one_at_a_time_whatever_the_batch() -> None:
    """So that neither padding nor the largest entry of another example counts."""
    sizes: list[int | None] = []

    def batches(size: int | None) -> list[Any]:
        sizes.append(size)
        return [batch_of(3, examples=1, seed=seed) for seed in range(9)]

    model, seen = still(tiny("bert")), list[int]()
    model.register_forward_pre_hook(lambda module, args: seen.append(1))
    hooked(LoRA(init="corda", samples=5), model, batches=batches)
    assert sizes == [1]
    assert len(seen) == 5


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"lora.rank=40 with lora.init=pissa must be at most 32"):
        compose(build({"lora": {"rank": 40, "init": "pissa"}}), tiny("bert"), context_of(batch_of(3)))
    with pytest.raises(UserError, match="lora needs to know the run's batches"):
        hooked(LoRA(init="corda"), tiny("bert"))
