"""Every technique over architectures beside the six families: it has its effect, or is refused in one sentence."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from transformers import SqueezeBertConfig, SqueezeBertForSequenceClassification

from hype_bench.contract.compose import check_fit, compose
from hype_bench.contract.method import Method
from hype_bench.contract.registry import build, discover
from hype_bench.methods.hype import HyPe
from hype_bench.methods.llrd import LLRD
from hype_bench.methods.mixout import Mixout
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, outputs_for, technique, train
from tests.architectures import ARCHITECTURES, DECODERS, FOR_DECODERS, REFUSED, architecture
from tests.encoder_table import PAGE, filled

UPDATES = 3


def fine_tuned(methods: dict[str, Method], kind: str, outputs: int = 3) -> tuple[list[float], torch.Tensor]:
    batch = batch_of(outputs)
    model = architecture(kind, outputs).train()
    hooks = compose(methods, model, context_of(batch, updates=UPDATES))
    losses = list(train(model, hooks, batch, UPDATES))
    hooks.finish()
    return losses, torch.cat([p.detach().flatten() for p in model.parameters()])


@cache
def plain(kind: str, outputs: int) -> tuple[list[float], torch.Tensor]:
    return fine_tuned({}, kind, outputs)


def has_effect(methods: dict[str, Method], kind: str) -> bool:
    outputs = outputs_for(*methods)
    losses, weights = fine_tuned(methods, kind, outputs)
    assert all(map(math.isfinite, losses)), kind
    return losses != plain(kind, outputs)[0] or not torch.equal(weights, plain(kind, outputs)[1])


@pytest.mark.parametrize("name", sorted(discover()))
def test_every_technique_acts_or_is_refused(name: str) -> None:
    for kind in ARCHITECTURES:
        if name in REFUSED.get(kind, set()):
            with pytest.raises(UserError) as refusal:
                fine_tuned(technique(name), kind, outputs_for(name))
            assert kind in str(refusal.value)
            assert "\n" not in str(refusal.value)
        else:
            assert has_effect(technique(name), kind) == (name != "vanilla"), f"{name} has no effect on {kind}"


@pytest.mark.parametrize("kind", DECODERS)
def test_noise_and_r_drop_act_on_decoders(kind: str) -> None:
    for name in FOR_DECODERS:
        assert has_effect(technique(name), kind), name


def test_the_page_says_what_these_tests_hold() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page), "docs/encoders.md is not current: make docs"


# What a head reads shows in a pass alone:
SHOWN_BY_A_PASS = {"dr_tune", "fourier_head", "levi", "match_tuning", "nmtune", "supervised_contrastive"}


@pytest.mark.parametrize("kind", sorted(REFUSED.keys() & ARCHITECTURES.keys()))
def test_a_refusal_needs_no_weights_and_names_the_technique(kind: str) -> None:
    with torch.device("meta"):
        skeleton: Any = type(architecture(kind))._from_config(architecture(kind).config)
    for name in REFUSED[kind] - SHOWN_BY_A_PASS:
        with pytest.raises(UserError, match=name if "hype" not in name else "(?i)hype"):
            check_fit(technique(name), skeleton)


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "albert", "funnel", "eurobert"])
def test_mixout_of_every_linear_map(kind: str) -> None:
    assert has_effect({"mixout": Mixout(where="every")}, kind)


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "eurobert"])
def test_noise_within_the_layers_needs_a_norm_behind_attention(kind: str) -> None:
    with pytest.raises(UserError, match="position=within"):
        check_fit({"hype_n": HyPe(position="within")}, architecture(kind))
    assert has_effect({"hype_n": HyPe(position="within", dropout=None)}, "mpnet")


@pytest.mark.parametrize(
    ("kind", "top", "bottom"),
    [
        ("modernbert", {"model.final_norm.weight", "classifier.weight"}, {"model.embeddings.tok_embeddings.weight"}),
        ("canine", {"canine.projection.conv.weight"}, {"canine.chars_to_molecules.conv.weight"}),
        ("mpnet", {"classifier.dense.weight"}, {"mpnet.encoder.relative_attention_bias.weight"}),
        ("distilbert", {"pre_classifier.weight"}, {"distilbert.embeddings.word_embeddings.weight"}),
    ],
)  # fmt: skip
def test_heights_follow_the_order_in_which_parts_act(kind: str, top: set[str], bottom: set[str]) -> None:
    model = architecture(kind)
    hooks = compose({"llrd": LLRD(decay=0.5)}, model, context_of(batch_of(3)))
    groups = hooks.parameter_groups([{"params": list(model.parameters()), "lr": 1.0, "weight_decay": 0.0}])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert {named[name] for name in top} == {1.0}
    assert {named[name] for name in bottom} == {0.125}
    assert set(named.values()) == {1.0, 0.5, 0.25, 0.125}


def test_tables_called_bias_are_no_biases() -> None:
    model = architecture("mpnet")
    compose(build({"bitfit": {}}), model, context_of(batch_of(3)))
    assert not model.mpnet.encoder.relative_attention_bias.weight.requires_grad
    assert model.mpnet.encoder.layer[0].attention.attn.q.bias.requires_grad
    assert model.classifier.dense.weight.requires_grad


def test_an_encoder_without_linear_maps_is_refused() -> None:
    sizes = {"hidden_size": 16, "embedding_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = SqueezeBertConfig(vocab_size=64, intermediate_size=32, q_groups=1, **sizes)  # type: ignore[arg-type]
    with torch.device("meta"):
        model = SqueezeBertForSequenceClassification(config)
    for name in ("mixout", "dps", "lora"):
        with pytest.raises(UserError, match=name):
            check_fit(technique(name), model)
