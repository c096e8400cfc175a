"""Techniques in a loop of one's own: on what people have, around the loss they have, and never silently left out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from hype_bench.contract.attach import attach
from hype_bench.contract.objective import Batch, Forward
from hype_bench.contract.registry import build
from hype_bench.methods import EMA, SAM, FreeLB, HyPe, RDrop
from hype_bench.models.unwrapped import unwrapped
from hype_bench.options import UserError
from hype_bench.testing.tiny import anatomy, batch_of, still, tiny, without_dropout

AROUND: dict[str, Callable[[Any], Any]] = {
    "DataParallel": nn.DataParallel,
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
    "PEFT": lambda model: get_peft_model(model, LoraConfig(r=2, target_modules=["query"], lora_dropout=0.0)),
    "a module of one's own": lambda model: nn.ModuleDict({"encoder": model}),
}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT's
@pytest.mark.parametrize("kind", AROUND)
def test_the_model_inside_is_found(kind: str) -> None:
    model = tiny("bert")
    assert unwrapped(AROUND[kind](model)) is model


def test_without_a_transformer_it_is_refused() -> None:
    with pytest.raises(UserError, match="a Linear has none inside"), HyPe().attached(nn.Linear(2, 2)):
        pass


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*is not a leaf Tensor", "ignore:Dynamo does not know")  # torch.compile's own
@pytest.mark.parametrize("kind", ["DataParallel", "PEFT", pytest.param("torch.compile", marks=pytest.mark.slow)])
def test_noise_acts_through_what_is_around_the_model(kind: str) -> None:
    model, batch = AROUND[kind](without_dropout(tiny("bert")).train()), batch_of(3)
    before = anatomy(unwrapped(model))
    model(**batch).loss.backward()  # where it is compiled, it is so before there is a technique
    plain = model(**batch).logits
    with HyPe(scale=0.5, dropout=None).attached(model, seed=1) as attached:
        first, second = (attached.loss(batch) for _ in range(2))
        assert not torch.equal(first, second)
        assert (model(**batch).logits - plain).abs().max() > 0.01
    assert anatomy(unwrapped(model)) == before
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, model(**batch).logits)


def gradients(method: Any, checkpointing: str) -> list[torch.Tensor]:
    """Of one loss; checkpointing is switched on before or after the technique is attached, or not at all."""
    model, batch = still(tiny("bert")), batch_of(3)
    if checkpointing == "before":
        model.activation_checkpointing_enable()
    with method.attached(model, seed=1) as attached:
        if checkpointing == "after":
            model.activation_checkpointing_enable()
        attached.backward(batch)
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("checkpointing", ["before", "after"])
@pytest.mark.parametrize("technique", [{"hype_n": {"scale": 0.5}, "r_drop": {}}, {"mixout": {"p": 0.5}}], ids=str)
def test_gradients_are_exact_with_checkpointing(technique: dict[str, Any], checkpointing: str) -> None:
    every = [gradients(_Several(technique), asked) for asked in ("", checkpointing)]
    assert all(torch.allclose(one, other, rtol=1e-9, atol=1e-12) for one, other in zip(*every, strict=True))


class _Several:
    def __init__(self, techniques: dict[str, Any]) -> None:
        self.methods = build(techniques)

    def attached(self, model: Any, **context: Any) -> Any:
        return attach(self.methods, model, **context)


def test_the_loss_is_the_models_own_or_ones_own() -> None:
    model, batch = still(tiny("bert")), batch_of(3)
    model.config.problem_type = "multi_label_classification"
    batch["labels"] = nn.functional.one_hot(batch["labels"], 3).double()

    def halved(batch: Batch, forward: Forward) -> tuple[torch.Tensor, Any]:
        output = forward(batch)
        return nn.functional.binary_cross_entropy_with_logits(output.output.logits, batch["labels"]) / 2, output

    own = model(**batch).loss
    with pytest.warns(UserWarning, match="does nothing here"), RDrop().attached(model) as attached:
        assert torch.allclose(attached.loss(batch), 2 * own)
    chosen = attach(build({"r_drop": {}}), model, objective=halved)
    with pytest.warns(UserWarning, match="does nothing here"), chosen as attached:
        assert torch.allclose(attached.loss(batch), own)


def test_a_batch_without_tokens_or_loss_is_refused() -> None:
    model, batch = tiny("bert").train(), batch_of(3)
    embedded = {"inputs_embeds": torch.zeros(8, 7, model.config.hidden_size), "labels": batch["labels"]}
    with build({"neftune": {}})["neftune"].attached(model) as attached:
        with pytest.raises(UserError, match="no input_ids"):
            attached.loss(embedded)
        with pytest.raises(UserError, match="returns no loss for this batch"):
            attached.loss({"input_ids": batch["input_ids"]})


@pytest.mark.parametrize(
    ("method", "call"),
    [
        (RDrop(), "loss"),
        (SAM(), "backward"),
        (FreeLB(), "backward"),
        (EMA(), "after_step"),
    ],
    ids=str,
)
def test_a_technique_that_is_left_out_warns(method: Any, call: str) -> None:
    model, batch = tiny("bert").train(), batch_of(3)

    def loop() -> None:
        with method.attached(model):
            for _ in range(2):
                model(**batch).loss.backward()

    with pytest.warns(UserWarning, match=f"{type(method).__name__} cannot act: call {call}[(]"):
        loop()


def test_noise_that_half_precision_swallows_is_told_by_its_name() -> None:
    model = copy.deepcopy(tiny("bert")).bfloat16().train()
    with pytest.warns(UserWarning, match="hidden entries in bf16"), HyPe(scale=1e-5).attached(model) as attached:
        attached.loss(batch_of(3))
