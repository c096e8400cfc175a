"""SSF, SVFit and SaRA: what they compute, their gradients, steps and merged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.methods.sara import SaRA, nuclear_norm, small_entries
from hype_bench.methods.ssf import SSF, merge, scaled_and_shifted
from hype_bench.methods.svfit import SVFit, change, leading
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, fine_tuned, logits_of, tiny
from tests.methods.toys import Maps, close, given_noise, hooked, linear, tensor


def test_ssf_by_the_function_and_merged(parity: Callable[[str], Any]) -> None:
    case = parity("ssf")
    scale, shift = (tensor(case[key]).requires_grad_() for key in ("scale", "shift"))
    plain = linear(case["weight"], case["bias"])
    output = scaled_and_shifted(plain(tensor(case["x"])), scale, shift)
    close(output.detach(), case["output"])
    gradients = torch.autograd.grad((output * tensor(case["upstream"])).sum(), [scale, shift])
    close(gradients[0], case["grad_scale"])
    close(gradients[1], case["grad_shift"])
    merge(plain.weight, plain.bias, scale, shift)
    close(plain.weight.detach(), case["merged_weight"])
    close(plain.bias.detach(), case["merged_bias"])
    norm = case["layer_norm"]
    gamma, beta = tensor(norm["gamma"]), tensor(norm["beta"])
    merge(gamma, beta, tensor(norm["scale"]), tensor(norm["shift"]))
    close(gamma, norm["merged_gamma"])
    close(beta, norm["merged_beta"])


def test_ssf_over_three_steps(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("ssf")
    start = {"scale": (tensor(case["scale"]) - 1) / 0.02, "shift": tensor(case["shift"]) / 0.02}
    given_noise(monkeypatch, lambda like, site: start[site.split()[1]])
    module: Any = linear(case["weight"], case["bias"])
    model = Maps(module)
    hooks = hooked(SSF(init_std=0.02), model)
    groups = hooks.parameter_groups([{"params": list(model.parameters()), "lr": 0.05, "weight_decay": 0.1}])
    assert [len(group["params"]) for group in groups if not group["weight_decay"]] == [2]
    optimizer = torch.optim.SGD([module.ssf_scale, module.ssf_shift], 0.05)
    x = tensor(case["x"])
    for expected in case["trajectory"]:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        close(torch.stack([module.ssf_scale, module.ssf_shift]).detach(), expected)
    trained = model(x).detach()
    hooks.finish()
    close(module(x).detach(), trained.tolist())


def test_ssf_behind_a_layer_norm(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("ssf")
    norm, x = case["layer_norm"], tensor(case["x"])
    start = {"scale": (tensor(norm["scale"]) - 1) / 0.02, "shift": tensor(norm["shift"]) / 0.02}
    given_noise(monkeypatch, lambda like, site: start[site.split()[1]])
    module = torch.nn.LayerNorm(4, norm["eps"], dtype=torch.float64)
    module.weight.data, module.bias.data = tensor(norm["gamma"]), tensor(norm["beta"])
    hooks = hooked(SSF(init_std=0.02), Maps(module))
    close(module(x).detach(), norm["output"])
    hooks.finish()
    close(module.weight.detach(), norm["merged_gamma"])
    close(module(x).detach(), norm["output"])


def test_ssf_without_noise_starts_from_the_pretrained_function() -> None:
    model, batch = tiny("bert").eval(), batch_of(3)
    plain = logits_of(model, batch)
    hooks = compose({"ssf": SSF(init_std=0.0)}, model, Context())
    assert torch.equal(logits_of(model, batch), plain)
    hooks.finish()
    with pytest.raises(UserError, match="not available for xlnet"):
        compose({"ssf": SSF()}, tiny("xlnet"), Context())


def test_svfit(parity: Callable[[str], Any]) -> None:
    case = parity("svfit")
    left, values, right = leading(tensor(case["weight"]), 4)
    close(values, case["singular_values"])
    rank = case["rank"]
    close(tensor(case["weight"]) - change(left[:, :rank], values[:rank], right[:rank]), case["residual"])
    module: Any = linear(case["weight"], [0.0] * 5)
    model = Maps(module)
    hooks = hooked(SVFit(rank=rank), model)
    assert module.singular_values.numel() == case["trainable"]
    optimizer = torch.optim.SGD([module.singular_values], case["learning_rate"])
    (model(tensor(case["x"])) * tensor(case["upstream"])).sum().backward()
    close(module.singular_values.grad, case["grad_singular_values"])
    optimizer.step()
    close(module.singular_values.detach(), case["singular_values_after"][:rank])
    hooks.finish()
    close(module.weight.detach(), case["weight_after"])


def test_sara(parity: Callable[[str], Any]) -> None:
    """The paper's form: small entries train from their own values, others stay, weight decay or not."""
    case = parity("sara")
    module: Any = linear(case["weight"], [1.0] * 3)
    model = Maps(module)
    hooks = hooked(SaRA(threshold=case["threshold"]), model)
    assert small_entries(module.weight.detach(), 0.1, case["threshold"]).tolist() == case["mask"]
    assert not module.bias.requires_grad
    module.bias.data.zero_()
    options = case["options"]
    optimizer = torch.optim.AdamW([module.weight], options["lr"], weight_decay=options["weight_decay"])
    for expected in case["trajectory_paper"]:
        optimizer.zero_grad()
        (model(tensor(case["x"])) - tensor(case["target"])).square().mean().backward()
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
        close(module.weight.detach(), expected)


def test_sara_chooses_again_among_those_that_are_still_small() -> None:
    model = Maps(linear([[0.1, 0.2, 9.0]], [5.0]))
    hooks = hooked(SaRA(threshold=0.5, again_after=1), model)
    weight: Any = model.module[0].weight
    optimizer = torch.optim.SGD([weight], 1.0, momentum=0.9)
    for expected in ([[0.1, 0.8, 9.0]], [[0.4, 0.8, 9.0]]):
        weight.grad = tensor([[0.0, -0.6, 1.0]] if expected[0][0] == 0.1 else [[-0.3, -0.6, 1.0]])
        hooks.before_step(optimizer)
        optimizer.step()
        hooks.after_step(optimizer)
        close(weight.detach(), expected)


def test_saras_penalty_on_the_rank(parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all entries train its gradient is U V; where some do, it is that of the masked matrix, at these alone."""
    case = parity("sara")
    weight, mask = tensor(case["weight"]).requires_grad_(), torch.tensor(case["mask"])
    u, values, v = torch.linalg.svd(weight.detach(), full_matrices=False)
    every = torch.ones_like(mask)
    close(nuclear_norm(weight, every).detach(), float(values.sum()))
    close(torch.autograd.grad(nuclear_norm(weight, every), weight)[0], (u @ v).tolist())
    monkeypatch.setattr("hype_bench.methods.sara._LEAST_SIDE", 2)
    model = Maps(linear(case["weight"], [1.0] * 3))
    hooks = hooked(SaRA(threshold=case["threshold"], rank_penalty=0.5), model)
    loss, _ = hooks.loss({"labels": mask}, lambda batch: None, lambda batch, forward: (tensor(0.0), None))
    close(loss.detach(), 0.5 * float(torch.linalg.svdvals(weight.detach() * mask).sum()))
    trained: Any = model.module[0].weight
    (gradient,) = torch.autograd.grad(loss, trained)
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).all()
    with pytest.raises(UserError, match="more than 2 rows and columns"):
        hooked(SaRA(threshold=0.5, rank_penalty=0.5), Maps(linear([[0.1, 0.2], [0.1, 0.2]], [1.0, 1.0])))


def test_a_share_is_of_each_tensor_nearest_to_zero() -> None:
    assert small_entries(tensor([0.3, -0.1, 0.2, -4.0]), 0.5, None).tolist() == [False, True, True, False]
    model, _ = fine_tuned({"sara": SaRA(share=0.25)}, "bert", batch_of(3), 2)
    before, after = dict(tiny("bert").named_parameters()), dict(model.named_parameters())
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    moved = (before[name] != after[name]).double().mean()
    assert float(moved) == pytest.approx(0.25, abs=0.01)
