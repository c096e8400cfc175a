"""What is set as the hidden dropout has its effect in every architecture, or is refused; the rest keeps its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BartConfig, BartForSequenceClassification, BertConfig, BertForSequenceClassification

from hype_bench.models.hidden_dropout import (
    all_dropouts,
    check_hidden_dropout,
    dropout_probabilities,
    hidden_dropouts,
    set_dropout,
    set_in_config,
)
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, tiny
from tests.architectures import ARCHITECTURES, architecture

WITH_DROPOUT = sorted(ARCHITECTURES.keys() - {"eurobert"})


def two_passes(model: Any) -> tuple[Tensor, Tensor]:
    ids = torch.arange(5, 29).view(2, 12)
    ids[:, -1] = 2  # BART asks for an end
    torch.manual_seed(1)
    first, second = (model.train()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for _ in range(2))
    return first, second


def bart() -> Any:
    """Its dropouts are numbers handed to a function."""
    sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(vocab_size=64, d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, **sizes)  # type: ignore[arg-type]
    set_in_config(config, 0.5)
    return BartForSequenceClassification(config)


@pytest.mark.parametrize("kind", WITH_DROPOUT)
def test_through_the_configuration_and_on_the_model_are_the_same(kind: str) -> None:
    strong, weak = architecture(kind, dropout=0.5), architecture(kind, dropout=0.0)
    before = {name: place.p for name, place in all_dropouts(weak).items()}
    hidden = hidden_dropouts(weak)
    assert hidden
    set_dropout(all_dropouts(strong).values(), 0.0)
    set_dropout(hidden_dropouts(strong).values(), 0.5)
    restore = set_dropout(hidden.values(), 0.5)
    set_dropout([place for name, place in all_dropouts(weak).items() if name not in hidden], 0.0)
    first, second = two_passes(weak)
    assert not torch.equal(first, second), "dropout of 0.5 has no effect"
    assert torch.equal(first, two_passes(strong)[0])
    restore()
    assert {name: all_dropouts(weak)[name].p for name in hidden} == {name: before[name] for name in hidden}


@pytest.mark.parametrize("kind", [*ARCHITECTURES, "bart"])
def test_without_any_dropout_two_passes_are_equal(kind: str) -> None:
    model = bart() if kind == "bart" else architecture(kind, dropout=0.5)
    if kind != "eurobert":
        assert not torch.equal(*two_passes(model))
    set_dropout(all_dropouts(model).values(), 0.0)
    assert torch.equal(*two_passes(model))


@pytest.mark.parametrize("kind", ["distilbert", "mpnet", "funnel", "albert", "canine", "bart"])
def test_dropout_of_attention_probabilities_is_not_hidden(kind: str) -> None:
    model = bart() if kind == "bart" else architecture(kind)
    other = all_dropouts(model).keys() - hidden_dropouts(model).keys()
    assert other
    assert all("attention" in name or "attn" in name or "activation" in name or "layerdrop" in name for name in other)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_six_families_keep_what_is_not_the_published_codes(family: str) -> None:
    model = tiny(family)
    kept = {name for name in all_dropouts(model) if name not in hidden_dropouts(model)}
    attention = {name for name in all_dropouts(model) if name.endswith("attention.self.dropout")}
    summary = {"xlnet": {"sequence_summary.last_dropout"}, "deberta": {"pooler.dropout"}}
    assert kept == attention | summary.get(family.partition("_")[0], set())


def test_a_head_with_a_dropout_of_its_own_follows() -> None:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32}
    config = BertConfig(vocab_size=64, classifier_dropout=0.4, **sizes)  # type: ignore[arg-type]
    set_in_config(config, 0.25)
    model: Any = BertForSequenceClassification(config)
    assert model.dropout.p == 0.25
    assert "dropout" in hidden_dropouts(model)


def test_where_there_is_none_it_is_refused() -> None:
    model = architecture("eurobert")
    assert hidden_dropouts(model) == {}
    with pytest.raises(UserError, match=r"^training.dropout=0.1 would have no effect: eurobert has no hidden dropout"):
        check_hidden_dropout(model, 0.1, "training.dropout")
    check_hidden_dropout(model, 0.0, "training.dropout")


def test_asking_draws_nothing() -> None:
    before = torch.get_rng_state()
    hidden_dropouts(tiny("bert"))
    assert torch.equal(torch.get_rng_state(), before)


def test_probabilities_are_those_of_the_modules() -> None:
    model = architecture("distilbert", dropout=0.25)
    assert dropout_probabilities(model) == {"hidden": [0.25], "other": [0.1]}
    set_dropout(list(hidden_dropouts(model).values())[:1], 0.0)
    assert dropout_probabilities(model)["hidden"] == [0.0, 0.25]
