"""Re-initialisation: the law of what is drawn, which tensors are, and that plain fine-tuning follows."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.registry import build
from hype_bench.methods.reinit import Reinit, reinitialise
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, still, tiny, train

POOLERS = {"bert": "bert.pooler.", "xlnet": "sequence_summary.", "deberta": "pooler.", "deberta_v2": "pooler."}


def moved(family: str, method: Reinit, seed: int = 3) -> tuple[Any, dict[str, Tensor]]:
    """A model whose every entry was 7 before the technique acted, and its parameters by name."""
    model = tiny(family)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7.0)
    compose({"reinit": method}, model, Context(seed=seed)).finish()
    return model, {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize(("layers", "pooler"), [(0, True), (1, True), (2, False), (3, True)])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_starts_anew(family: str, layers: int, pooler: bool) -> None:
    """The highest layers and, where there is one, the pooler; nothing else. LayerNorm is the identity, biases are 0,
    and all of XLNet's attention tensors are drawn, as its architecture begins."""
    _, new = moved(family, Reinit(layers, pooler))
    fresh = 0
    for name, p in new.items():
        layer = re.search(r"\.layer\.(\d)\.", name)
        inside = bool(layer and int(layer[1]) >= 3 - layers)
        inside |= pooler and name.startswith(POOLERS.get(family, "none"))
        fresh += inside
        if not inside:
            assert bool((p == 7).all()), name
        elif re.search(r"layer_?norm", name.lower()):
            assert bool((p == (1.0 if name.endswith("weight") else 0.0)).all()), name
        elif "rel_attn" not in name and "bias" in name:
            assert not p.any(), name
        else:
            assert abs(float(p.mean())) < 5 * 0.02 / math.sqrt(p.numel()), name
            assert float(p.std()) == pytest.approx(0.02, rel=4 / math.sqrt(2 * p.numel())), name
    per_layer = {"bert": 16, "roberta": 16, "electra": 16, "xlnet": 17, "deberta": 16, "deberta_v2": 20}[family]
    assert fresh == layers * per_layer + (2 if pooler and family in POOLERS else 0)


class Wide(nn.Module):
    """A block with a matrix of a million entries."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(1000, 1000)
        self.LayerNorm = nn.LayerNorm(1000)
        for p in self.parameters():
            nn.init.constant_(p, 7.0)


def wide(seed: int, std: float = 0.02) -> Wide:
    block = Wide()
    reinitialise(block, std, torch.Generator().manual_seed(seed))
    return block


@pytest.mark.parametrize("std", [0.02, 0.5])
def test_law_on_a_million_draws(std: float) -> None:
    """N(0, std^2): mean, variance, the shares within 1, 2 and 3 standard deviations, the fourth moment; other seeds and
    neighbours have nothing in common with it."""
    block, count = wide(1, std), 10**6
    z = block.dense.weight.detach().double().flatten() / std
    assert abs(float(z.mean())) < 4 / math.sqrt(count)
    assert float(z.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))
    assert float((z**4).mean()) == pytest.approx(3, abs=4 * math.sqrt(96 / count))
    for width in (1, 2, 3):
        share = math.erf(width / math.sqrt(2))
        fraction = float((z.abs() < width).double().mean())
        assert fraction == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / count))
    others = [z.roll(1), z.view(1000, 1000).T.flatten(), wide(2).dense.weight.detach().double().flatten()]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([z, other]))[0, 1])) < 4 / math.sqrt(count)
    assert not block.dense.bias.any()
    assert bool((block.LayerNorm.weight == 1).all())
    assert not block.LayerNorm.bias.any()


def test_draws_are_those_of_a_generator_of_the_seeds() -> None:
    """One after the other from the lowest new layer up, pooler last; torch's own generator does not move."""
    key = hashlib.blake2b(b"5/reinit/0/weights", digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key, "little", signed=True))
    _, new = moved("bert", Reinit(2), seed=5)
    order = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
             "intermediate.dense", "output.dense"]  # fmt: skip
    names = [f"bert.encoder.layer.{layer}.{part}.weight" for layer in (1, 2) for part in order]
    for name in [*names, "bert.pooler.dense.weight"]:
        expected = torch.randn(new[name].shape, generator=generator) * 0.02
        torch.testing.assert_close(new[name], expected, atol=1e-9, rtol=1e-6, msg=name)
    model = tiny("bert")
    state = torch.get_rng_state()
    compose({"reinit": Reinit(2)}, model, Context(seed=5))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_standard_deviation_is_the_architectures() -> None:
    model = tiny("bert")
    model.config.initializer_range = 0.5
    compose({"reinit": Reinit(1)}, model, Context(seed=3))
    weight = model.bert.encoder.layer[2].intermediate.dense.weight.detach()
    assert float(weight.std()) == pytest.approx(0.5, rel=4 / math.sqrt(2 * weight.numel()))


def test_reproducible_from_the_seed() -> None:
    name = "bert.encoder.layer.2.output.dense.weight"
    first, again, other = (moved("bert", Reinit(1), seed)[1][name] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1])) < 0.1


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_then_it_is_plain_fine_tuning(family: str) -> None:
    """Three steps equal those of no technique from the same weights, bit for bit; everything is trained."""
    batch, ends = batch_of(3), []
    model = still(tiny(family))
    hooks = compose({"reinit": Reinit(2)}, model, context_of(batch))
    assert all(p.requires_grad for p in model.parameters())
    plain = still(tiny(family))
    plain.load_state_dict(model.state_dict())
    for one, its in ((model, hooks), (plain, compose({}, plain, context_of(batch)))):
        ends.append((list(train(one, its, batch, 3)), one.state_dict()))
    assert ends[0][0] == ends[1][0]
    for name, value in ends[0][1].items():
        assert torch.equal(value, ends[1][1][name]), name


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_more_layers_than_there_are(family: str) -> None:
    with pytest.raises(UserError, match=r"reinit\.layers must be at most 3, the layers of this encoder, not 5"):
        compose({"reinit": Reinit()}, tiny(family), Context())


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"reinit": {"layers": -1}}, "layers must be at least 0"),
        ({"reinit": {"layers": "all"}}, "layers must be a whole number"),
        ({"reinit": {"pooler": 1}}, "pooler must be true or false"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)
