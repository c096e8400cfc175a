"""The parallel adapter: the released numbers, and that it stays in a model that cannot be saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra import compose as compose_settings
from hydra import initialize_config_dir
from torch import Tensor, nn

from hype_bench.config import CONF
from hype_bench.contract.compose import compose
from hype_bench.launch.execute import resolve_run
from hype_bench.methods.parallel_adapter import ParallelAdapter, adapted
from hype_bench.models.layers import feed_forward_maps
from hype_bench.options import UserError
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, logits_of, still, tiny, train
from tests.architectures import architecture
from tests.methods.toys import close, hooked, linear, tensor


class FeedForward(nn.Module):
    """A layer whose feed-forward part gives what the file says."""

    def __init__(self, given: Tensor) -> None:
        super().__init__()
        self.attention = nn.Module()
        self.first = linear(torch.eye(4).tolist(), [0.0] * 4)
        self.last = linear(torch.zeros(4, 4).tolist(), [0.0] * 4)
        self.given = given

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.last(self.first(x).relu() * 0) + self.given
        return read


class Encoder(nn.Module):
    base_model_prefix = "encoder"

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([layer])
        self.config: Any = type("Config", (), {"num_hidden_layers": 1, "num_labels": 2, "model_type": "toy"})

    @property
    def base_model(self) -> nn.Module:
        return self.encoder


def test_by_the_function_and_in_a_model(parity: Callable[[str], Any]) -> None:
    case = parity("parallel_adapter")
    names = ("down", "down_bias", "up", "up_bias")
    weights = [tensor(case["weights"][name]).requires_grad_() for name in names]
    x = tensor(case["x"]).requires_grad_()
    given, upstream = tensor(case["feed_forward_output"]), tensor(case["upstream"])
    output = given + adapted(x, weights[0], weights[1], weights[2], weights[3], case["scalar"])
    close(output.detach(), case["output"])
    for gradient, name in zip(
        torch.autograd.grad((output * upstream).sum(), [*weights, x]), [*names, "x"], strict=True
    ):
        close(gradient, case["grads"][name] if name != "x" else case["grad_x"])

    layer = FeedForward(given)
    model = Encoder(layer)
    hooks = hooked(ParallelAdapter(bottleneck=2, scale=case["scalar"]), model)
    beside: Any = layer.parallel_adapter
    assert bool((layer(x) == given).all()) == case["output_at_init_is_zero"]
    assert 0 < float(beside.down.detach().abs().max()) <= 0.5  # Kaiming: 1 / sqrt(4)
    with torch.no_grad():
        for name in names:
            getattr(beside, name).copy_(tensor(case["weights"][name]))
    (layer(x) * upstream).sum().backward()
    for name in names:
        close(getattr(beside, name).grad, case["grads"][name])
    hooks.finish()
    close(layer(x).detach(), case["output"])


@pytest.mark.parametrize("family", [*FAMILIES, "distilbert", "modernbert", "mpnet", "eurobert"])
def test_feed_forward_parts_are_found(family: str) -> None:
    model = tiny(family) if family in FAMILIES else architecture(family)
    for layer in model.base_model.modules():
        if layer.__class__.__name__.endswith("Layer") and hasattr(layer, "attention"):
            first, last = feed_forward_maps(layer)
            assert first.in_features == last.out_features == getattr(model.config, "hidden_size", last.out_features)
            assert first.out_features >= last.in_features > last.out_features


def test_it_stays_and_only_it_and_the_head_train() -> None:
    model, batch = still(tiny("bert")), batch_of(3)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    hooks = compose({"it": ParallelAdapter(bottleneck=4)}, model, context_of(batch))
    list(train(model, hooks, batch, 3, lr=0.1))
    trained = logits_of(model, batch)
    hooks.finish()
    assert torch.equal(logits_of(model, batch), trained)
    moved = {name for name, p in start.items() if not torch.equal(model.get_parameter(name), p)}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("override", "way_out"),
    [
        ("training.save=last", "leave out training.save=last"),
        ("analysis=robustness", "an analysis needs weights that were saved"),
    ],
)
def test_a_run_that_would_be_saved_is_refused(override: str, way_out: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run = compose_settings("config", ["model=tiny_bert", "task=demo_rte", "method=parallel_adapter", override])
    with pytest.raises(UserError, match=f"^parallel_adapter leaves no plain model.*: {way_out}$"):
        resolve_run(run)
