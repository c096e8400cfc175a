"""HyPe equals the released code's logits, in all families, and is nothing in evaluation and after ``finish``."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from hype_bench.config import ModelConfig, UserError
from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.perturbation import changed_fraction, perturb
from hype_bench.contract.registry import build
from hype_bench.methods.hype import HyPe, selected_layers
from hype_bench.models.checkpoint import locate
from hype_bench.models.hidden_dropout import hidden_dropouts
from hype_bench.models.layers import encoder_layers
from hype_bench.models.loading import load_classifier

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2")
IDS = torch.tensor([[5, 9, 4, 6, 8, 3]])


class CosineSource(NoiseSource):
    """The parity files' noise: the k-th tensor of a forward pass is cos(0.3 j + k), uniform 0.5 (1 + that)."""

    def __init__(self) -> None:
        super().__init__(0, "")
        self.k = 0

    def next_forward(self) -> None:
        self.k = 0

    def normal(self, like: Tensor, site: str) -> Tensor:
        flat = torch.arange(like.numel(), dtype=like.dtype)
        self.k += 1
        return torch.cos(0.3 * flat + self.k - 1).view(like.shape)

    def uniform(self, like: Tensor, site: str) -> Tensor:
        return 0.5 * (1 + self.normal(like, site))


def attach(model: Any, method: HyPe, source: NoiseSource | None = None) -> tuple[Composed, Context]:
    context = Context(seed=1)
    if source is not None:
        context.noise = lambda *_: source  # type: ignore[method-assign]
        context.until_finish(model.register_forward_pre_hook(source.watch))
    return compose({"hype": method}, model, context), context


def parity_model(case: dict[str, Any], family: str) -> Any:
    config = AutoConfig.for_model(family, **case["config"])
    config._attn_implementation = "eager"
    model = AutoModelForSequenceClassification.from_config(config).double()
    for name, parameter in model.named_parameters():
        c = zlib.crc32(name.encode()) % 1000
        i = torch.arange(parameter.numel(), dtype=torch.float64)
        norm = name.endswith(("LayerNorm.weight", "layer_norm.weight"))
        value = 1 + 0.05 * torch.sin(i + c) if norm else 0.08 * torch.sin(0.7 * i + c)
        parameter.data.copy_(value.view(parameter.shape))
    return model.train()


VARIANTS = [
    ("normal_all", {"distribution": "normal"}, 3),
    ("uniform_all_official_0_1", {"distribution": "uniform", "support": "official_code"}, 3),
    ("normal_layers_0_only", {"distribution": "normal", "layers": [0]}, 1),
    ("normal_layers_1_2", {"distribution": "normal", "layers": "highest:2"}, 2),
    ("normal_all_plus_intermediate", {"distribution": "normal", "position": "both"}, 6),
    ("normal_only_intermediate_with_add", {"distribution": "normal", "position": "within"}, 3),
]


@pytest.mark.parametrize(("key", "options", "draws"), VARIANTS, ids=[v[0] for v in VARIANTS])
def test_logits_of_the_released_code(
    key: str, options: dict[str, Any], draws: int, parity: Callable[[str], Any]
) -> None:
    case = parity("hype")["bert"]
    inputs = {name: torch.tensor(value) for name, value in case["inputs"].items()}
    model, source = parity_model(case, "bert"), CosineSource()
    vanilla = model(**inputs)
    expected = torch.tensor(case["vanilla_train"]["logits"], dtype=torch.float64)
    torch.testing.assert_close(vanilla.logits, expected, atol=1e-10, rtol=0)

    hooks, _ = attach(model, HyPe(scale=case["eps"], **options), source)
    output = model(**inputs)
    expected = torch.tensor(case[key]["logits"], dtype=torch.float64)
    torch.testing.assert_close(output.logits, expected, atol=1e-10, rtol=0)
    assert output.loss.item() == pytest.approx(case[key]["loss"], abs=1e-10)
    assert source.k == draws == case[key]["n_draws"]

    hooks.finish()
    assert torch.equal(model(**inputs).logits, vanilla.logits)


def tiny(family: str, dropout: float = 0.1) -> Any:
    checkpoint = locate(ModelConfig(name=family, checkpoint=f"tiny:{family}", family=family))
    return load_classifier(checkpoint, 2, dropout, head_seed=0)


@pytest.mark.parametrize("position", ["between", "within", "both"])
@pytest.mark.parametrize("family", FAMILIES)
def test_against_a_naive_loop(family: str, position: str) -> None:
    """The same sums written as wrapped ``forward`` functions instead of hooks, in float64."""
    model = tiny(family, dropout=0.0).double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    hooks, _ = attach(model, HyPe(scale=0.05, position=position), CosineSource())
    hooked = model(input_ids=IDS).logits
    hooks.finish()

    source = CosineSource()
    for layer in encoder_layers(model):
        if position in ("between", "both"):
            layer.forward = noisy_input(layer.forward, source)
        if position in ("within", "both"):
            block = layer.rel_attn if family == "xlnet" else layer.attention
            block.forward = noisy_output(block.forward, source)
    torch.testing.assert_close(model(input_ids=IDS).logits, hooked, atol=1e-12, rtol=0)
    assert source.k == (6 if position == "both" else 3)


def noisy_input(inner: Callable[..., Any], source: CosineSource) -> Callable[..., Any]:
    return lambda h, *args, **kwargs: inner(h + 0.05 * source.normal(h, ""), *args, **kwargs)


def noisy_output(inner: Callable[..., Any], source: CosineSource) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        out = inner(*args, **kwargs)
        first = out[0] if isinstance(out, tuple) else out
        noised = first + 0.05 * source.normal(first, "")
        return (noised, *out[1:]) if isinstance(out, tuple) else noised

    return forward


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_in_evaluation_and_nothing_left_after_finish(family: str) -> None:
    model = tiny(family)
    handles = count_hooks(model)
    probabilities = {name: module.p for name, module in hidden_dropouts(model).items()}
    assert set(probabilities.values()) == {0.1}
    model.eval()
    plain = model(input_ids=IDS).logits
    hooks, _ = attach(model, HyPe(scale=0.5, position="both"))
    assert torch.equal(model(input_ids=IDS).logits, plain)
    assert all(module.p == 0 for module in hidden_dropouts(model).values())
    model.train()
    assert not torch.equal(model(input_ids=IDS).logits, plain)
    hooks.finish()
    assert {name: module.p for name, module in hidden_dropouts(model).items()} == probabilities
    assert count_hooks(model) == handles


def count_hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_scale_zero_with_dropout_kept_is_vanilla_bit_for_bit(family: str) -> None:
    model = tiny(family).train()
    torch.manual_seed(4)
    vanilla = model(input_ids=IDS).logits
    hooks, _ = attach(model, HyPe(scale=0.0, dropout=None))
    torch.manual_seed(4)
    assert torch.equal(model(input_ids=IDS).logits, vanilla)
    hooks.finish()


def test_dropout_that_stays() -> None:
    """Attention probabilities keep their dropout (BERT), XLNet's last summary dropout keeps its own."""
    for family, kept in (("bert", "attention.self.dropout"), ("xlnet", "sequence_summary.last_dropout")):
        model = tiny(family)
        hooks, _ = attach(model, HyPe())
        others = {n: m.p for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout) and n.endswith(kept)}
        assert others
        assert set(others.values()) == {0.1}
        hooks.finish()


def test_noise_is_fresh_for_every_layer_pass_and_seed_and_leaves_torch_alone() -> None:
    like = torch.empty(50_000)
    state = torch.get_rng_state()
    source = NoiseSource(1, "hype")
    source.next_forward()
    first = source.normal(like, "between/0")
    assert torch.equal(source.normal(like, "between/0"), first)  # what checkpointing runs again
    others = [source.normal(like, "between/1"), NoiseSource(2, "hype").normal(like, "between/0")]
    source.next_forward()
    others.append(source.normal(like, "between/0"))
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 4 / math.sqrt(like.numel())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("distribution", "support", "mean", "std", "low", "high"),
    [
        ("normal", "symmetric", 0.0, 1e-5, -math.inf, math.inf),
        ("uniform", "symmetric", 0.0, 1e-5 / math.sqrt(3), -1e-5, 1e-5),
        ("uniform", "official_code", 5e-6, 1e-5 / math.sqrt(12), 0.0, 1e-5),
    ],
)
def test_laws_on_a_million_draws(
    distribution: str, support: str, mean: float, std: float, low: float, high: float
) -> None:
    zero, source = torch.zeros(10**6, dtype=torch.float64), NoiseSource(0, "t")
    draw = source.normal(zero, "a") if distribution == "normal" else source.uniform(zero, "a")
    noise = perturb(zero, draw, 1e-5, distribution, support)
    assert abs(float(noise.mean()) - mean) < 4 * std / 1000
    assert float(noise.std()) == pytest.approx(std, rel=0.005)
    assert low <= float(noise.min())
    assert float(noise.max()) <= high
    if distribution == "uniform":
        assert float(noise.max() - noise.min()) > 0.999 * (high - low)


def test_fraction_that_survives_a_precision(parity: Callable[[str], Any]) -> None:
    table = parity("hype")["fraction_of_entries_changed_by_gaussian_noise_when_hidden_is_N(0,1)"]
    torch.manual_seed(0)
    hidden, draw = torch.randn(10**6), torch.randn(10**6)
    names = {"fp32": "float32", "tf32": "tf32_operand", "fp16": "float16", "bf16": "bfloat16"}
    for scale, key in ((1e-5, "sigma_1e-05"), (1e-4, "sigma_0.0001"), (1e-3, "sigma_0.001")):
        for precision, name in names.items():
            stored = hidden.to(torch.bfloat16 if precision == "bf16" else torch.float16).float()
            stored = hidden if precision == "fp32" else stored  # the table's hidden states are stored in the precision
            noised = perturb(stored, draw, scale, "normal")
            assert changed_fraction(stored, noised, precision) == pytest.approx(table[key][name], abs=2e-3), (key, name)


def test_warns_once_where_the_precision_swallows_the_noise() -> None:
    model = tiny("bert").train()
    context = Context(seed=1, precision="bf16")
    hooks = compose({"hype": HyPe(scale=1e-5)}, model, context)
    for _ in range(2):
        model(input_ids=IDS)
    hooks.finish()
    assert len(context.warnings) == 1
    assert "bf16" in context.warnings[0]
    assert set(context.facts["noise_changed_fraction"]) == {"between/0", "between/1", "between/2"}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [("all", [0, 1, 2, 3]), ("lowest:2", [0, 1]), ("highest:1", [3]), ([2, 0, 2], [0, 2])],
)
def test_selection_of_layers(layers: Any, expected: list[int]) -> None:
    assert selected_layers(layers, 4) == expected


@pytest.mark.parametrize("layers", ["highest:0", "highest:5", "top:2", "lowest", [], [4], [-1]])
def test_selection_that_cannot_be(layers: Any) -> None:
    with pytest.raises(UserError, match="layers must"):
        selected_layers(layers, 4)


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"hype_n": {"scal": 1e-4}}, "did you mean scale"),
        ({"hype_n": {"scale": -1.0}}, "at least 0"),
        ({"hype_n": {"scale": "big"}}, "a number"),
        ({"hype_n": {"support": "symmetric", "position": "above"}}, "between, within, both"),
        ({"hype_n": {"distribution": "uniform"}}, "no option 'distribution'"),
        ({"hype_u": {"support": "half"}}, "official_code"),
        ({"hype_u": {"dropout": 1.0}}, "below 1"),
        ({"hype_n": {}, "no_dropout": {}}, "cannot be combined"),
        ({"hipe": {}}, "there is no method"),
    ],
)
def test_options_that_cannot_be(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(chosen)
