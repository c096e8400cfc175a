"""Top-K tuning: which parameters train in each family, and that they train as in a plain model."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.registry import build
from hype_bench.methods.top_k import TopK
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, still, tiny, train
from tests.methods.by_hand import train_some, with_state
from tests.methods.noise_by_hand import assert_close

HEADS = ("bert.pooler.", "pooler.", "classifier.", "sequence_summary.", "logits_proj.")


def expected(model: Any, k: int) -> set[str]:
    """Names with a layer's number of at least 3 - k, and those of pooler and head; by name alone."""
    names = set()
    for name, _ in model.named_parameters():
        layer = re.search(r"\.layer\.(\d)\.", name)
        if name.startswith(HEADS) or (layer and int(layer[1]) >= 3 - k):
            names.add(name)
    return names


def trained(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_trains(family: str, k: int) -> None:
    """The highest layers, pooler and head; with all layers the embeddings still stand still."""
    model, context = tiny(family), Context()
    everything = trained(model)
    hooks = compose({"top_k": TopK(k)}, model, context)
    assert trained(model) == expected(model, k)
    assert trained(model) < everything
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    assert context.facts == {"trained_parameters": sum(sizes[name] for name in expected(model, k))}
    hooks.finish()
    assert trained(model) == everything


def test_how_many_parameters_a_layer_has() -> None:
    """BERT's numbers by hand: pooler, head, and 4 square matrices, 2 wide ones and 2 LayerNorms a layer."""
    head = 32 * 32 + 32 + 3 * 32 + 3
    layer = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 2 * (32 + 32)
    for k in range(4):
        context = Context()
        compose({"top_k": TopK(k)}, tiny("bert"), context)
        assert context.facts["trained_parameters"] == head + k * layer


def test_the_upper_half_by_default() -> None:
    """Of three layers two."""
    model = tiny("bert")
    compose({"top_k": TopK()}, model, Context())
    assert trained(model) == expected(model, 2)


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_the_backward_pass_ends_at_the_lowest_trained_layer_and_frozen_weights_have_no_state(family: str) -> None:
    model, batch = tiny(family).train(), batch_of(3)
    hooks = compose({"top_k": TopK(1)}, model, context_of(batch))
    hidden = model(input_ids=batch["input_ids"], output_hidden_states=True).hidden_states
    assert [h.requires_grad for h in hidden] == [False, False, False, True]
    assert with_state(model, hooks, batch) == expected(model, 1)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_steps_against_a_plain_model(family: str, count: int) -> None:
    """AdamW in numpy on a plain model's gradients, of which those below the highest two layers are left out."""
    model, batch = still(tiny(family)), batch_of(3)
    losses = list(train(model, compose({"top_k": TopK(2)}, model, context_of(batch)), batch, count))
    plain = still(tiny(family))
    assert losses == pytest.approx(train_some(plain, expected(plain, 2), batch, count), abs=1e-7)
    assert_close(model.state_dict(), plain.state_dict(), atol=1e-10)


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"top_k": {"k": -1}}, "k must be at least 0"),
        ({"top_k": {"k": 1.5}}, "k must be a whole number"),
        ({"top_k": {}, "bitfit": {}}, "cannot be combined: each decides on which weights are trained"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)


def test_more_layers_than_there_are() -> None:
    with pytest.raises(UserError, match=r"top_k\.k must be at most 3, the layers of this encoder, not 4"):
        compose({"top_k": TopK(4)}, tiny("bert"), Context())
