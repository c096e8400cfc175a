"""A packed row, a padded batch and one sequence at a time compute the same, in every family."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.config import ModelConfig
from hype_bench.contract.objective import task_loss
from hype_bench.models import packing
from hype_bench.models.attention import Packing, attend_each
from hype_bench.models.checkpoint import locate
from hype_bench.models.layers import attention_block, encoder_layers
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.packing import attach_packing, can_pack, compute_every_token, first_position
from hype_bench.models.padded_attention import attend_padded
from hype_bench.options import UserError
from hype_bench.tasks.data import Split
from hype_bench.testing.tiny import without_dropout
from hype_bench.training.batches import Collator
from hype_bench.training.tokens import Tokens, tokenise

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")
PACKABLE = ("bert", "roberta", "electra")
SENTENCES = ["A dog.", "", "The nurse thanked the pilot and left early.", "no " * 60, "Two children sang.", "x", "y z"]


def tiny(family: str) -> Any:
    return locate(ModelConfig(name=f"tiny_{family}", checkpoint=f"tiny:{family}", family=family))


def classifier(family: str, outputs: int = 3) -> Any:
    model = load_classifier(tiny(family), outputs, dropout=0.0, head_seed=1)
    model.config.attention_probs_dropout_prob = 0.0
    return without_dropout(model).train()


def tokens_of(family: str, outputs: int = 3, max_length: int = 40) -> Tokens:
    count = len(SENTENCES)
    labels = np.arange(count) % outputs if outputs > 1 else np.linspace(0, 5, count)
    split = Split("t", (SENTENCES, SENTENCES[::-1]), labels, np.arange(count))
    return tokenise(split, load_tokenizer(tiny(family)), max_length)


def collator(model: Any, packed: bool, pad_left: bool = False) -> Collator:
    first = first_position(model) if packed else 0
    pad = int(model.config.pad_token_id or 0)
    return Collator(packed, torch.device("cpu"), first, pad, pad_left)


def run(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    labels = batch.pop("labels")
    logits = model(**batch).logits
    loss = task_loss(logits, labels)
    loss.backward()
    return (
        logits.detach(),
        loss.detach(),
        {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None},
    )


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one[0], other[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(one[1], other[1], atol=1e-6, rtol=0)
    assert one[2].keys() == other[2].keys()
    for name, gradient in one[2].items():
        torch.testing.assert_close(gradient, other[2][name], atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize("attend", [attend_each, attend_padded])
@pytest.mark.parametrize("family", PACKABLE)
def test_packed_equals_padded(family: str, attend: Any, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd lengths, truncation at 40 tokens, sentences without a word; attention as on a CPU and as on a GPU."""
    monkeypatch.setattr(packing, "attend_each", attend)
    model, tokens = classifier(family, outputs), tokens_of(family, outputs)
    assert tokens.lengths.max() == 40
    indices = np.array([3, 0, 6, 1, 5, 2, 4])
    padded = run(model, collator(model, packed=False)(tokens, indices))
    detach = attach_packing(model)
    packed = run(model, collator(model, packed=True)(tokens, indices))
    assert_same(packed, padded)
    detach()
    assert_same(run(model, collator(model, packed=False)(tokens, indices)), padded)
    assert "forward" not in vars(attention_block(encoder_layers(model)[-1]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_equals_its_examples_one_by_one(family: str) -> None:
    """Padding (left for XLNet) or packing never reaches a neighbour: logits of the batch are those of each alone."""
    model, tokens = classifier(family), tokens_of(family)
    packed = can_pack(model)
    assert packed == (family in PACKABLE)
    if packed:
        attach_packing(model)
    collate = collator(model, packed, pad_left=family == "xlnet")
    model.eval()
    with torch.no_grad():
        together = model(**without_labels(collate(tokens, np.arange(len(tokens))))).logits
        alone = [model(**without_labels(collate(tokens, np.array([i])))).logits for i in range(len(tokens))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


def without_labels(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "labels"}


@pytest.mark.parametrize("family", PACKABLE)
def test_the_top_layer_works_for_first_tokens_only(family: str) -> None:
    """Its query, output and feed-forward see one row a sequence; its keys, values and the layer below see all."""
    model, tokens = classifier(family), tokens_of(family)
    attach_packing(model)
    batch = without_labels(collator(model, packed=True)(tokens, np.array([3, 0, 6])))
    rows: dict[str, int] = {}
    for name, module in model.base_model.encoder.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, args, n=name: rows.update({n: args[0].shape[1]}))
    model(**batch)
    everything, top = batch["input_ids"].shape[1], f"layer.{model.config.num_hidden_layers - 1}."
    assert everything > 3
    assert rows.pop(f"{top}attention.self.key") == rows.pop(f"{top}attention.self.value") == everything
    assert {name for name, count in rows.items() if count == 3} == {name for name in rows if name.startswith(top)}
    assert {count for name, count in rows.items() if not name.startswith(top)} == {everything}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_first_tokens_may_attend_to_states_instead_of_keys(dropout: float) -> None:
    """The same attention, gradients and masks, whether or not keys and values are computed."""
    attention: Any = attention_block(encoder_layers(classifier("bert").double())[-1]).self
    row = replace(Packing.of([3, 1, 5]), queries=1)
    generator = torch.Generator().manual_seed(0)
    heads, size = attention.num_attention_heads, attention.attention_head_size
    shapes = (1, heads, 3, size), (1, 9, heads * size), (1, 3, heads, size)
    query, hidden, upstream = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    learned = [query.requires_grad_(), hidden.requires_grad_()]
    learned += [*attention.key.parameters(), *attention.value.parameters()]
    results = []
    for attend in (packing._attend_to_keys, packing._attend_to_states):
        torch.manual_seed(7)
        attended = attend(attention, query, hidden, row, dropout)
        results.append((attended, *torch.autograd.grad(attended, learned, upstream)))
    for by_keys, by_states in zip(*results, strict=True):
        torch.testing.assert_close(by_states, by_keys, atol=1e-12, rtol=0)


def changed(linear: torch.nn.Linear, how: str) -> torch.nn.Module:
    """The same map, made by something else than ``nn.Linear.forward`` of its weights."""
    if how == "replaced":
        return torch.nn.Sequential(linear)
    if how == "wrapped":
        linear.forward = linear.forward  # type: ignore[method-assign]  # now an attribute of its own
    elif how == "hooked":
        linear.register_forward_pre_hook(lambda module, args: None)
    else:
        torch.nn.utils.parametrize.register_parametrization(linear, "weight", torch.nn.Identity())
    return linear


@pytest.mark.parametrize("name", ["key", "value"])
@pytest.mark.parametrize("how", ["replaced", "wrapped", "hooked", "parametrised"])
def test_what_a_technique_changed_is_called(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that do not say it all are not used in place of the module."""
    model = classifier("bert")
    attach_packing(model)
    batch = collator(model, True)(tokens_of("bert"), np.arange(3))
    expected, *_ = run(model, dict(batch))
    attention: Any = attention_block(encoder_layers(model)[-1]).self
    setattr(attention, name, changed(getattr(attention, name), how))
    monkeypatch.setattr(packing, "_attend_to_states", lambda *_: pytest.fail("asked without the module"))
    logits, *_ = run(model, dict(batch))
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", PACKABLE)
def test_the_top_layer_computes_every_token_as_long_as_somebody_reads_it(family: str) -> None:
    """Logits and gradients stay what they were."""
    model, tokens = classifier(family), tokens_of(family)
    indices = np.array([3, 0, 6, 1])
    attach_packing(model)
    collate = collator(model, packed=True)
    lengths: list[int] = []
    encoder_layers(model)[-1].register_forward_hook(lambda _, args, output: lengths.append(output.shape[1]))
    first_only = run(model, collate(tokens, indices))
    undo = [compute_every_token(model) for _ in range(2)]
    assert_same(run(model, collate(tokens, indices)), first_only)
    for stop in undo:
        assert_same(run(model, collate(tokens, indices)), first_only)
        stop()
    assert_same(run(model, collate(tokens, indices)), first_only)
    total = tokens.lengths[indices].sum()
    assert lengths == [4, total, total, total, 4]


def test_hidden_states_of_a_packed_row_are_refused() -> None:
    """Those of the top layer would be first tokens only."""
    model, tokens = classifier("bert"), tokens_of("bert")
    attach_packing(model)
    packed, padded = (collator(model, is_packed)(tokens, np.arange(3)) for is_packed in (True, False))
    assert len(model(**padded, output_hidden_states=True).hidden_states) == 1 + len(encoder_layers(model))
    with pytest.raises(UserError, match=r"output_hidden_states .* set training\.packing=off"):
        model(**packed, output_hidden_states=True)
    model.config.output_hidden_states = True
    with pytest.raises(UserError, match="output_hidden_states"):
        model(**packed)


def test_a_copy_of_a_packed_model_uses_its_own_weights() -> None:
    model, tokens = classifier("bert"), tokens_of("bert")
    attach_packing(model)
    batch = without_labels(collator(model, packed=True)(tokens, np.array([3, 0, 6])))
    before = model(**batch).logits.detach()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(model(**batch).logits, before)
    assert not other(**batch).logits.any()


def test_gradient_checkpointing_of_a_packed_row() -> None:
    model, tokens = classifier("bert"), tokens_of("bert")
    attach_packing(model)
    collate, indices = collator(model, packed=True), np.array([3, 0, 6, 1])
    expected = run(model, collate(tokens, indices))
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert_same(run(model, collate(tokens, indices)), expected)


@pytest.mark.parametrize("family", PACKABLE)
def test_a_sequence_of_one_token(family: str) -> None:
    model = classifier(family)
    ids = np.array([7, 8, 9, 10], dtype=np.int32)
    tokens = Tokens(ids, None, np.array([0, 1, 4]), np.array([0, 1]))
    padded = run(model, collator(model, packed=False)(tokens, np.array([0, 1])))
    attach_packing(model)
    assert_same(run(model, collator(model, packed=True)(tokens, np.array([0, 1]))), padded)


@pytest.mark.parametrize("family", PACKABLE)
def test_a_padded_batch_still_works_while_packing_is_attached(family: str) -> None:
    model, tokens = classifier(family), tokens_of(family)
    indices = np.arange(len(tokens))
    before = run(model, collator(model, packed=False)(tokens, indices))
    attach_packing(model)
    assert_same(run(model, collator(model, packed=False)(tokens, indices)), before)
