"""FGM, PGD, FreeAT and VAT: the released code's perturbations, losses and gradients on a small encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.ascent import Climb
from hype_bench.contract.objective import Batch
from hype_bench.methods.fgm import FGM, table_step
from hype_bench.methods.free_at import FreeAT
from hype_bench.methods.pgd import PGD
from hype_bench.methods.vat import VAT, _Adversary
from tests.methods.toys import (
    TanhLayer,
    ToyEncoder,
    close,
    embedded_ids,
    given_noise,
    hooked,
    named_gradients,
    one_backward,
    tensor,
)


def toy(case: Any) -> tuple[ToyEncoder, Batch]:
    """The model and the batch of a file; embeddings that are given become a table with a row for each position."""
    parts = case["toy"]
    table, ids = (case["table"], torch.tensor(case["ids"])) if "table" in case else embedded_ids(case["embeddings"])
    model = ToyEncoder(table, [TanhLayer(parts["A"], parts["a"])], parts["C"], parts["c"])
    batch = {"input_ids": ids, "attention_mask": torch.tensor(case["mask"])}
    return model, batch | ({"labels": torch.tensor(case["labels"])} if "labels" in case else {})


def check_gradients(model: ToyEncoder, expected: Any) -> None:
    gradients = named_gradients(model)
    names = {"A": "encoder.layer.0.map.weight", "a": "encoder.layer.0.map.bias"}
    names |= {"C": "classifier.weight", "c": "classifier.bias"}
    for key, name in names.items():
        close(gradients[name], expected[key])


@pytest.fixture
def perturbations(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What a climb or VAT adds to the embeddings, pass by pass."""
    seen: list[Tensor] = []
    for cls in (Climb, _Adversary):
        plain = cls._perturbed

        def recorded(self: Any, embedded: Tensor, plain: Any = plain) -> Tensor | None:
            perturbed: Tensor | None = plain(self, embedded)
            if perturbed is not None:
                seen.append((perturbed - embedded).detach())
            return perturbed

        monkeypatch.setattr(cls, "_perturbed", recorded)
    return seen


def test_fgm(parity: Callable[[str], Any], perturbations: list[Tensor]) -> None:
    case = parity("fgm")
    model, batch = toy(case)
    loss = one_backward(hooked(FGM(radius=case["epsilon"]), model), model, batch)
    close(loss, case["total"])
    close(perturbations[0], torch.zeros_like(perturbations[0]).tolist())
    close(perturbations[1], case["perturbation"])
    check_gradients(model, case["grads"])
    close(model.encoder.embeddings.weight.grad.view(2, 4, 3), case["grad_embeddings"])


def test_fgm_of_the_table_adds_the_gradient_at_the_moved_table(parity: Callable[[str], Any]) -> None:
    """What an earlier pass has left in ``.grad`` does not turn the step and is still there."""
    model, batch = toy(parity("pgd"))
    table: Any = model.get_input_embeddings().weight
    start, left = table.detach().clone(), torch.ones_like(table)
    clean = one_backward(hooked(FGM(radius=0.0), model), model, batch) / 2
    gradient = table.grad / 2  # both passes of a radius of 0 are the clean one
    table.data = start + table_step(gradient, 0.7)
    model.zero_grad()
    above = one_backward(hooked(FGM(radius=0.0), model), model, batch) / 2
    expected, table.data = gradient + table.grad / 2 + left, start.clone()
    model.zero_grad()
    table.grad = left.clone()
    loss = one_backward(hooked(FGM(radius=0.7, perturbs="table"), model), model, batch)
    close(loss, float(clean + above))
    close(table.grad, expected.tolist())
    assert torch.equal(table, start)


def test_pgd(parity: Callable[[str], Any], perturbations: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("pgd")
    given_noise(monkeypatch, lambda like, site: (tensor(case["uniform"]) + 1) / 2)
    model, batch = toy(case)
    method = PGD(case["steps"], case["ascent_lr"], case["magnitude"], case["max_norm"])
    loss = one_backward(hooked(method, model), model, batch)
    close(torch.stack(perturbations), case["pgd"]["deltas"])
    close(loss, case["pgd"]["loss"])
    check_gradients(model, case["pgd"]["grads"])
    close(model.encoder.embeddings.weight.grad, case["pgd"]["grad_table"])


def test_free_at(parity: Callable[[str], Any], perturbations: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates with one batch: those that the host hands over in between are left out."""
    case, expected = parity("pgd"), parity("pgd")["freeat"]
    given_noise(monkeypatch, lambda like, site: (tensor(case["uniform"]) + 1) / 2)
    model, batch = toy(case)
    hooks = hooked(FreeAT(case["steps"], case["ascent_lr"], case["magnitude"], case["max_norm"]), model)
    optimizer = torch.optim.SGD(model.parameters(), expected["learning_rate"])
    other = batch | {"input_ids": batch["input_ids"].flip(0)}
    for update, weights in enumerate(expected["weights_after_each_step"]):
        optimizer.zero_grad()
        loss = one_backward(hooks, model, other if update else batch)
        optimizer.step()
        hooks.after_step(optimizer)
        close(loss, expected["losses_divided"][update])
        layer: Any = model.get_submodule("encoder.layer.0.map")
        values = {"A": layer.weight, "a": layer.bias, "C": model.classifier.weight, "c": model.classifier.bias}
        for name, value in values.items():
            close(value, weights[name])
    close(torch.stack(perturbations), expected["deltas_used"])
    close(model.encoder.embeddings.weight, expected["table_after"])
    one_backward(hooks, model, other)
    close(perturbations[-1], case["pgd"]["deltas"][0])  # a new batch starts anew


def test_vat(parity: Callable[[str], Any], perturbations: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity("vat")
    given_noise(monkeypatch, lambda like, site: tensor(case["first_noise"]))
    model, batch = toy(case)
    hooks = hooked(VAT(radius=case["epsilon"], xi=case["xi"], steps=case["power_iterations"]), model)
    batch["labels"] = torch.tensor([0, 1])
    task = torch.nn.functional.cross_entropy(model(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"])
    gradients = torch.autograd.grad(task, list(model.parameters()))
    loss = one_backward(hooks, model, batch)
    close(loss, task.item() + case["term"])
    close(perturbations[0], case["probes"][0])
    close(perturbations[1], case["perturbation"])
    for p, of_task in zip(model.parameters(), gradients, strict=True):
        assert p.grad is not None
        p.grad -= of_task
    check_gradients(model, case["grads"])
    close(model.encoder.embeddings.weight.grad.view(2, 4, 3), case["grad_embeddings"])
