"""Techniques that replace cross-entropy or add a term to it: published numbers, and that others wrap them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import forward_of
from hype_bench.contract.registry import build
from hype_bench.contract.starting_point import StartingPoint
from hype_bench.methods.asft import ASFT, DFT, anchor
from hype_bench.methods.focal import Focal, focal_loss
from hype_bench.methods.label_smoothing import LabelSmoothing
from hype_bench.methods.r_drop import RDrop, consistency
from hype_bench.methods.stablemax import StableMax, log_stablemax, stablemax_loss
from hype_bench.methods.supervised_contrastive import SupervisedContrastive, contrast
from hype_bench.methods.z_loss import ZLoss
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, still, tiny
from tests.methods.toys import ToyEncoder, close, hooked, one_backward, tensor


def driven(method: Method, case: Any) -> tuple[Tensor, Tensor]:
    """The loss through the technique's hooks, and its gradient with respect to the logits."""
    model: Any = SimpleNamespace(config=SimpleNamespace(num_labels=len(case["logits"][0])), training=True)
    hooks, logits = hooked(method, model), tensor(case["logits"]).requires_grad_()
    batch = {"labels": torch.tensor(case["labels"])}
    loss, _ = hooks.loss(batch, lambda batch: SimpleNamespace(logits=logits))
    return loss, torch.autograd.grad(loss, logits)[0]


def test_label_smoothing(parity: Callable[[str], Any]) -> None:
    case = parity("label_smoothing")
    loss, gradient = driven(LabelSmoothing(smoothing=case["smoothing"]), case)
    close(loss, case["loss"])
    close(gradient, case["grad_logits"])


def test_focal(parity: Callable[[str], Any]) -> None:
    case = parity("focal")
    logits = tensor(case["logits"]).requires_grad_()
    loss = focal_loss(logits, torch.tensor(case["labels"]), case["gamma"])
    driven_loss, driven_gradient = driven(Focal(gamma=case["gamma"]), case)
    for one, gradient in ((loss, torch.autograd.grad(loss, logits)[0]), (driven_loss, driven_gradient)):
        close(one.detach(), case["loss"])
        close(gradient, case["grad_logits"])


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_the_model_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    gradient = torch.autograd.grad(focal_loss(logits, torch.tensor([0, 0]), gamma), logits)[0]
    assert gradient.tolist() == [[0.0, 0.0], [-0.5, 0.5]]


def test_stablemax(parity: Callable[[str], Any]) -> None:
    case = parity("stablemax")
    close(log_stablemax(tensor(case["logits"])), case["log_probabilities"])
    loss, gradient = driven(StableMax(), case)
    close(loss, case["loss"])
    close(gradient, case["grad_logits"])


@pytest.mark.parametrize("form", ["log_z", "spherical"])
def test_z_loss(form: str, parity: Callable[[str], Any]) -> None:
    case = parity("z_loss")
    loss, gradient = driven(ZLoss(form=form, weight=case["log_z"]["coefficient"], a=case["a"], b=case["b"]), case)
    close(loss, case[form]["loss"])
    close(gradient, case[form]["grad_logits"])


def test_the_spherical_z_loss_is_refused_with_two_classes(parity: Callable[[str], Any]) -> None:
    with pytest.raises(UserError, match="no gradient with two classes"):
        driven(ZLoss(form="spherical"), parity("z_loss")["two_classes"])


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_supervised_contrastive(scaling: str, parity: Callable[[str], Any]) -> None:
    """The weight 1 leaves its term alone; then as the mixture of the paper, with the toy's own cross-entropy."""
    case = parity("supervised_contrastive")
    labels, features = torch.tensor(case["labels"]), tensor(case["features"])
    close(contrast(features, labels, case["tau"], scaling), case[f"term_{scaling}"])
    batch = {"input_ids": torch.arange(len(labels))[:, None], "labels": labels}
    head = torch.sin(torch.arange(12.0)).view(3, 4).tolist()
    for weight in (1.0, case["weight"]):
        model = ToyEncoder(case["features"], [], head, [0.1, 0.0, -0.2])
        method = SupervisedContrastive(weight=weight, temperature=case["tau"], scaling=scaling)
        loss = one_backward(hooked(method, model), model, batch)
        task = torch.nn.functional.cross_entropy(model(batch["input_ids"]).logits, labels).item()
        close(loss, (1 - weight) * task + weight * case[f"term_{scaling}"])
        given, _ = hooked(method, model).loss(
            batch, forward_of(model), lambda batch, forward: (tensor(case["ce"]), forward(batch))
        )
        close(given.detach(), case[f"term_{scaling}" if weight == 1 else f"loss_with_{scaling}"])
        if weight == 1:
            factor = len(labels) if scaling == "sum" else 1
            close(model.encoder.embeddings.weight.grad / factor, case["grad_features_of_term_mean"])


def test_supervised_contrastive_refuses_a_regression() -> None:
    with pytest.raises(UserError, match="not available for a regression"):
        hooked(SupervisedContrastive(), ToyEncoder([[1.0]], [], [[1.0]], [0.0]))


def test_a_regression_keeps_its_mean_squared_error() -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(num_labels=1))
    batch, logits = {"labels": tensor([1.0, 3.0])}, tensor([[0.0], [1.0]])
    for method in (LabelSmoothing(), StableMax(), ZLoss(), ZLoss(form="spherical")):
        close(hooked(method, model).loss(batch, lambda batch: SimpleNamespace(logits=logits))[0], 2.5)


@pytest.mark.parametrize("order", list(permutations(["stablemax", "r_drop"])))
def test_others_wrap_the_objective_in_whichever_order_they_are_named(order: tuple[str, str]) -> None:
    labels, passes = torch.tensor([0, 1]), [tensor([[1.0, -2.0], [0.5, 0.0]]), tensor([[0.2, 0.3], [-1.0, 2.0]])]
    for built in (build({name: {} for name in order}), {name: build({name: {}})[name] for name in order}):
        model: Any = None
        given = iter(passes)
        hooks = compose(built, model, Context())
        loss, _ = hooks.loss({"labels": labels}, lambda batch, given=given: SimpleNamespace(logits=next(given)))
        expected = sum(stablemax_loss(z, labels) for z in passes) + RDrop().alpha * consistency(
            passes[0], passes[1], "paper", False
        )
        close(loss, float(expected))


def test_there_is_one_objective() -> None:
    with pytest.raises(UserError, match="label_smoothing and stablemax cannot be combined: each decides on the obj"):
        build({"label_smoothing": {}, "stablemax": {}})
    build({"label_smoothing": {}, "z_loss": {}})


@pytest.mark.parametrize("mode", ["dft", "sft+kl_kl0.05", "sft+kl_kl0.1", "asft_kl0.05", "asft_kl0.1"])
def test_dft_and_asft(mode: str, parity: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("asft")
    reference = tensor(case["reference_logits"])
    monkeypatch.setattr(StartingPoint, "keep", lambda self: None)
    monkeypatch.setattr(StartingPoint, "logits", lambda self, batch, forward: reference)
    weight = float(mode.partition("_kl")[2] or 0)
    method: Method = ASFT(weight, "probability" if mode[0] == "a" else "none", probe=0) if weight else DFT()
    loss, gradient = driven(method, case)
    close(loss.detach(), case["results"][mode]["loss"])
    close(gradient, case["results"][mode]["grad_logits"])


def test_asft_is_anchored_to_the_probed_model() -> None:
    """The probe moves the head alone; at the first update the divergence from the reference is 0."""
    batch, model = batch_of(3), still(tiny("bert"))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    context = context_of(batch)
    hooks = compose({"asft": ASFT(kl_weight=5.0, weighting="none", probe=3)}, model, context)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert context.facts["probe_updates"] == 3
    plain = torch.nn.functional.cross_entropy(forward_of(model)(batch).logits, batch["labels"])
    close(hooks.loss(batch, forward_of(model))[0].detach(), plain.item())
    reference = forward_of(model)(batch).logits.detach()
    with torch.no_grad():
        model.classifier.bias += torch.tensor([1.0, 0.0, 0.0])
    logits = forward_of(model)(batch).logits
    plain = torch.nn.functional.cross_entropy(logits, batch["labels"]) + 5 * anchor(logits, reference)
    close(hooks.loss(batch, forward_of(model))[0].detach(), plain.item())
    hooks.finish()
