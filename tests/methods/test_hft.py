"""HFT: exact counts in every layer, a fair choice over seeds, and a model whose other half trains as always."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import nn

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.registry import build
from hype_bench.methods.hft import HFT, frozen_units
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, still, tiny, train
from tests.methods.by_hand import train_some, with_state
from tests.methods.noise_by_hand import assert_close

SEEDS = 1000

# Attention matrices, feed-forward matrices and LayerNorms of one layer, by name.
BERT = (
    ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"],
    ["intermediate.dense", "output.dense"],
    ["attention.output.LayerNorm", "output.LayerNorm"],
)
PARTS: dict[str, tuple[list[str], list[str], list[str]]] = dict.fromkeys(("bert", "roberta", "electra"), BERT)
PARTS["xlnet"] = (
    [f"rel_attn.{name}" for name in "qkvor"],
    ["ff.layer_1", "ff.layer_2"],
    ["rel_attn.layer_norm", "ff.layer_norm"],
)
PARTS["deberta"] = (
    ["attention.self.in_proj", "attention.self.pos_proj", "attention.self.pos_q_proj", "attention.output.dense"],
    *BERT[1:],
)
PARTS["deberta_v2"] = (
    [f"attention.self.{name}_proj" for name in ("query", "key", "value", "pos_key", "pos_query")]
    + ["attention.output.dense"],
    *BERT[1:],
)


def frozen(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if not p.requires_grad}


def chosen(model: Any, family: str) -> list[tuple[list[str], list[str], list[str]]]:
    """What is frozen in every layer, by kind; complains about anything frozen in part or besides."""
    names, halves = frozen(model), []
    for layer in range(3):
        inside = {re.sub(r".*\.layer\.\d\.", "", name) for name in names if f".layer.{layer}." in name}
        kinds = [[part for part in parts if {part, f"{part}.weight"} & inside] for parts in PARTS[family]]
        everything = {
            n.partition(f".layer.{layer}.")[2] for n, _ in model.named_parameters() if f".layer.{layer}." in n
        }
        units = {part for kind in kinds for part in kind}
        assert inside == {name for name in everything if name in units or name.rpartition(".")[0] in units}
        halves.append((kinds[0], kinds[1], kinds[2]))
    assert all(".layer." in name for name in names)
    return halves


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", FAMILIES)
def test_half_of_every_layer(family: str, seed: int) -> None:
    """Half of the attention matrices (of XLNet's five, two), one of two feed-forward matrices, half of all LayerNorms;
    a bias goes with its matrix; embeddings, pooler and head train."""
    model, context = tiny(family), Context(seed=seed)
    hooks = compose({"hft": HFT()}, model, context)
    units = chosen(model, family)
    assert [len(attention) for attention, _, _ in units] == [len(PARTS[family][0]) // 2] * 3
    assert [len(forward) for _, forward, _ in units] == [1] * 3
    assert sum(len(norms) for _, _, norms in units) == 3
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    left = sum(size for name, size in sizes.items() if name not in frozen(model))
    assert context.facts == {"trained_parameters": left}
    assert 0 < left < sum(sizes.values())
    hooks.finish()
    assert not frozen(model)


class Gated(nn.Module):
    """A layer as of the language models of the paper: four attention matrices, three feed-forward ones, two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("q", "k", "v", "o")})
        self.forward_part = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("gate", "up", "down")})
        self.norms = nn.ModuleList([nn.LayerNorm(2), nn.LayerNorm(2)])


@pytest.mark.parametrize("count", [6, 5])
def test_three_feed_forward_matrices(count: int) -> None:
    """Two of them train in a random half of the layers, one in the others, as the paper has it."""
    layers = [Gated() for _ in range(count)]
    generous: Counter[int] = Counter()
    for seed in range(200):
        still_there = {id(p) for unit in frozen_units(list(layers), random.Random(seed)) for p in unit}
        trained = []
        for layer in layers:
            assert sum(id(m.weight) in still_there for m in layer.attention.values()) == 2
            assert all((id(m.weight) in still_there) == (id(m.bias) in still_there) for m in layer.attention.values())
            trained.append(sum(id(m.weight) not in still_there for m in layer.forward_part.values()))
        assert sorted(trained) == [1] * (count - count // 2) + [2] * (count // 2)
        assert sum(id(norm.weight) in still_there for layer in layers for norm in layer.norms) == count
        generous.update(at for at, n in enumerate(trained) if n == 2)
    share = (count // 2) / count
    for at in range(count):
        assert abs(generous[at] - 200 * share) < 4 * (200 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_every_unit_is_frozen_half_of_the_time_and_layers_do_not_know_of_each_other(family: str) -> None:
    model, counts, pairs, norms = tiny(family), Counter[str](), Counter[tuple[str, ...]](), Counter[int]()
    attention, forward, normalising = PARTS[family]
    together = 0
    for seed in range(SEEDS):
        hooks = compose({"hft": HFT()}, model, Context(seed=seed))
        units = chosen(model, family)
        for layer, kinds in enumerate(units):
            counts.update(f"{layer}.{part}" for kind in kinds for part in kind)
        pairs[tuple(units[0][0])] += 1
        norms[len(units[0][2])] += 1
        together += units[0][1] == units[1][1]
        hooks.finish()

    def fair(count: int, share: float) -> bool:
        return abs(count - SEEDS * share) < 4 * (SEEDS * share * (1 - share)) ** 0.5

    for layer in range(3):
        for part in attention:
            assert fair(counts[f"{layer}.{part}"], 2 / len(attention)), part
        for part in (*forward, *normalising):
            assert fair(counts[f"{layer}.{part}"], 1 / 2), part
    subsets = list(combinations(attention, 2))
    assert set(pairs) == set(subsets)
    assert all(fair(pairs[subset], 1 / len(subsets)) for subset in subsets)
    assert fair(together, 1 / 2)
    assert fair(norms[1], 3 / 5)  # three of all six LayerNorms: two of a layer's, one or none
    assert fair(norms[0], 1 / 5)


def test_the_choice_follows_from_the_seed_alone() -> None:
    def choice(seed: int, torchs_own: int) -> set[str]:
        model = tiny("bert")
        torch.manual_seed(torchs_own)
        random.seed(torchs_own)
        compose({"hft": HFT()}, model, Context(seed=seed))
        return frozen(model)

    assert choice(3, 1) == choice(3, 2)
    assert choice(3, 1) != choice(4, 1)


def test_frozen_units_are_of_the_layers_given() -> None:
    model = tiny("bert")
    units = frozen_units(encoder_layers(model)[:2], random.Random(0))
    top = {p for p in encoder_layers(model)[2].parameters()}
    assert len(units) == 2 * 2 + 2 * 1 + 2
    assert not any(p in top for unit in units for p in unit)
    assert [len(unit) for unit in units] == [2] * len(units)  # a weight and its bias


@pytest.mark.parametrize("family", ["bert", "xlnet", "deberta"])
def test_the_frozen_half_has_neither_gradient_nor_state(family: str) -> None:
    model, batch = tiny(family).train(), batch_of(3)
    hooks = compose({"hft": HFT()}, model, context_of(batch))
    everything = {name for name, _ in model.named_parameters()} - {"transformer.mask_emb"}  # for pre-training only
    assert with_state(model, hooks, batch) == everything - frozen(model)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_steps_against_a_plain_model(family: str, count: int) -> None:
    """AdamW in numpy on a plain model's gradients, of which those of the frozen half are left out."""
    model, batch = still(tiny(family)), batch_of(3)
    hooks = compose({"hft": HFT()}, model, context_of(batch))
    trained = {name for name, _ in model.named_parameters()} - frozen(model)
    list(train(model, hooks, batch, count))
    plain = still(tiny(family))
    train_some(plain, trained, batch, count)
    assert_close(model.state_dict(), plain.state_dict(), atol=1e-10)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"hft": {"share": 0.4}}, "method.hft has no option 'share'; it has none"),
        ({"hft": {}, "top_k": {}}, "cannot be combined: each decides on which weights are trained"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(options)
