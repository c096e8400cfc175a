"""BitFit: the released counts on full-size BERT, which parameters train in each family, and that they train as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.registry import build
from hype_bench.methods.bitfit import SUBSETS, BitFit
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, still, tiny, train
from tests.methods.by_hand import train_some, with_state
from tests.methods.noise_by_hand import assert_close

SIZES = {
    "bert-base-cased": BertConfig(vocab_size=28996),
    "bert-large-cased": BertConfig(
        vocab_size=28996, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
}


def trained(model: Any) -> dict[str, int]:
    return {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("size", SIZES)
def test_published_counts(size: str, parity: Callable[[str], Any]) -> None:
    case = parity("bitfit")[size]
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(SIZES[size])
    total = sum(p.numel() for p in model.parameters())
    assert total == case["total"]
    for biases, key in (("all", "all_bias"), (["query", "intermediate"], "query_intermediate")):
        context = Context()
        hooks = compose({"bitfit": BitFit(biases)}, model, context)
        counts = trained(model)
        assert sum(counts.values()) == context.facts["trained_parameters"] == case[key]
        if biases == "all":
            assert len(counts) == case["n_tensors_all"]
            without = sum(n for name, n in counts.items() if not name.startswith("classifier"))
            assert without == case["all_bias_without_classifier"]
            assert without / total == pytest.approx(case["fraction_all"], rel=1e-12)
            assert sum(counts.values()) - without == case["frozen"]  # the head alone
        hooks.finish()
    assert sum(trained(model).values()) == total


HEAD = {"bert": "classifier", "roberta": "classifier", "electra": "classifier", "xlnet": "logits_proj",
        "deberta": "classifier", "deberta_v2": "classifier"}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_biases_and_the_head_train(family: str) -> None:
    """By name alone: LayerNorm's, the pooler's, XLNet's attention biases and DeBERTa's q_bias and v_bias too."""
    model = tiny(family)
    everything = trained(model)
    hooks = compose({"bitfit": BitFit()}, model, Context())
    assert trained(model) == {n: size for n, size in everything.items() if "bias" in n or n.startswith(HEAD[family])}
    hooks.finish()
    assert trained(model) == everything


# Suffixes behind "bert.encoder.layer.N.", as the released code's search by substring finds them.
PARTS = {
    "intermediate": {"intermediate.dense.bias"},
    "key": {"attention.self.key.bias"},
    "query": {"attention.self.query.bias"},
    "value": {"attention.self.value.bias"},
    "output": {"output.dense.bias", "attention.output.dense.bias"},
    "output_layernorm": {"output.LayerNorm.bias", "attention.output.LayerNorm.bias"},
    "attention_layernorm": {"attention.output.LayerNorm.bias"},
}


@pytest.mark.parametrize("chosen", [*PARTS, ["key", "value"], list(PARTS)], ids=str)
def test_some_biases(chosen: str | list[str]) -> None:
    """The pooler's bias and the head train with every choice, the embeddings' LayerNorm with none."""
    model = tiny("bert")
    compose({"bitfit": BitFit(chosen)}, model, Context())
    keys = [chosen] if isinstance(chosen, str) else chosen
    expected = {"bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    expected |= {f"bert.encoder.layer.{n}.{part}" for n in range(3) for key in keys for part in PARTS[key]}
    assert trained(model).keys() == expected


def test_every_key_is_tested() -> None:
    assert PARTS.keys() == SUBSETS.keys()


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_the_rest_has_neither_gradient_nor_state(family: str) -> None:
    model, batch = tiny(family).train(), batch_of(3)
    hooks = compose({"bitfit": BitFit()}, model, context_of(batch))
    assert with_state(model, hooks, batch) == trained(model).keys()


@pytest.mark.parametrize("count", [1, 3])
def test_steps_against_a_plain_model(count: int) -> None:
    """AdamW in numpy on a plain model's gradients, of which all but those of biases and head are left out."""
    model, batch = still(tiny("bert")), batch_of(3)
    list(train(model, compose({"bitfit": BitFit()}, model, context_of(batch)), batch, count))
    plain = still(tiny("bert"))
    names = [name for name in trained(plain) if name.endswith("bias") or name == "classifier.weight"]
    train_some(plain, names, batch, count)
    assert_close(model.state_dict(), plain.state_dict(), atol=1e-10)


@pytest.mark.parametrize("biases", ["queries", ["query", "keys"], []], ids=str)
def test_biases_that_are_not_known(biases: str | list[str]) -> None:
    with pytest.raises(UserError, match=r"bitfit\.biases must be all or some of intermediate, key, query, value"):
        compose({"bitfit": BitFit(biases)}, tiny("bert"), Context())


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"bitfit": {"biases": 3}}, "biases must be a name or a list"),
        ({"bitfit": {}, "hft": {}}, "cannot be combined: each decides on which weights are trained"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)
