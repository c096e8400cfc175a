"""Techniques in a loop of one's own: on what people have, around the loss they have, and never silently left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel

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


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("techniques", [("hype_n",), ("hype_n", "r_drop"), ("sam",), ("ema",)], ids="+".join)
def test_under_ddp_it_is_as_without(techniques: tuple[str, ...], one_process: None) -> None:
    ends = []
    for around in (lambda model: model, DistributedDataParallel):
        model = around(still(tiny("bert")))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = anatomy(unwrapped(model))
        with _Several({name: {} for name in techniques}).attached(model, seed=1, updates=2) as attached:
            for _ in range(2):
                attached.backward(batch_of(3))
                attached.before_step(optimizer)
                optimizer.step()
                attached.after_step(optimizer)
                optimizer.zero_grad()
        assert anatomy(unwrapped(model)) == before
        ends.append(nn.utils.parameters_to_vector(unwrapped(model).parameters()).detach())
    assert torch.allclose(ends[0], ends[1], rtol=1e-9, atol=1e-12)


class SentenceTransformer(nn.Sequential):
    """Of the same structure as the library's: a module that holds the encoder, and a pooling; one dictionary in, one
    out."""

    def __init__(self, encoder: Any) -> None:
        super().__init__(nn.ModuleDict({"auto_model": encoder}))

    def forward(self, features: Batch) -> Batch:
        hidden = self[0]["auto_model"](**features).last_hidden_state
        return {**features, "sentence_embedding": hidden.mean(1)}


def test_noise_acts_in_sentence_transformers_inner_model() -> None:
    inner = still(tiny("bert")).base_model.train()
    model, batch = SentenceTransformer(inner), batch_of(3)
    features = {name: batch[name] for name in ("input_ids", "attention_mask")}
    before, plain = anatomy(inner), model(features)["sentence_embedding"]
    with HyPe(scale=0.5).attached(model, seed=1):
        first, second = (model(features)["sentence_embedding"] for _ in range(2))
        first.sum().backward()
    assert (first - plain).abs().max() > 0.01
    assert not torch.equal(first, second)
    assert anatomy(inner) == before
    assert torch.equal(model(features)["sentence_embedding"], plain)


def test_a_loss_of_ones_own_is_computed_of_what_is_around_the_model() -> None:
    model, batch = SentenceTransformer(still(tiny("bert")).base_model.train()), batch_of(3)
    passes = []

    def apart(batch: Batch, forward: Forward) -> tuple[torch.Tensor, Any]:
        features = {name: batch[name] for name in ("input_ids", "attention_mask")}
        passes.append(features)
        return -model(features)["sentence_embedding"].var(0).sum(), None

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(build({"sam": {}}), model, objective=apart, updates=1) as attached:
        attached.backward(batch)
        attached.before_step(optimizer)
        attached.after_step(optimizer)
    assert len(passes) == 2
    gradients = [p.grad for p in model.parameters() if p.grad is not None]  # the pooler has none
    assert len(gradients) > 10
    assert all(gradient.isfinite().all() for gradient in gradients)


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
