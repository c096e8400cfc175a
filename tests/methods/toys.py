"""Small models in float64 on which techniques are driven and held to published numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import Batch, forward_of, objective


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class TanhLayer(nn.Module):
    """``tanh(h W^T + b)``; with ``residual`` that is added to h."""

    def __init__(self, weight: Any, bias: Any, residual: bool = False) -> None:
        super().__init__()
        self.map, self.residual = linear(weight, bias), residual

    def forward(self, hidden: Tensor) -> Tensor:
        changed: Tensor = torch.tanh(self.map(hidden))
        return hidden + changed if self.residual else changed


class ToyEncoder(nn.Module):
    """Word embeddings, layers, the mean over the tokens that are real, a linear head."""

    base_model_prefix = "encoder"

    def __init__(self, table: Any, layers: Sequence[nn.Module], head: Any, bias: Any) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.embeddings = nn.Embedding.from_pretrained(tensor(table), freeze=False)
        self.encoder.layer = nn.ModuleList(layers)
        self.classifier = linear(head, bias)
        self.config = SimpleNamespace(model_type="toy", num_labels=len(head), num_hidden_layers=len(layers))

    @property
    def base_model(self) -> nn.Module:
        return self.encoder

    def get_input_embeddings(self) -> Any:
        return self.encoder.embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        hidden = self.encoder.embeddings(input_ids)
        for layer in self.encoder.layer:
            hidden = layer(hidden)
        real = (torch.ones_like(input_ids) if attention_mask is None else attention_mask)[..., None].to(hidden.dtype)
        return SimpleNamespace(logits=self.classifier((hidden * real).sum(1) / real.sum(1)))


class Network(nn.Module):
    """``fc2(tanh(fc1(x)))``, whose two maps count as encoder."""

    base_model_prefix = "encoder"

    def __init__(self, weights: Mapping[str, Any]) -> None:
        super().__init__()
        self.fc1 = linear(weights["fc1.weight"], weights["fc1.bias"])
        self.fc2 = linear(weights["fc2.weight"], weights["fc2.bias"])
        self.config = SimpleNamespace(model_type="toy", num_labels=2)

    def forward(self, inputs: Tensor) -> Any:
        return SimpleNamespace(logits=self.fc2(torch.tanh(self.fc1(inputs))))


class Maps(nn.Module):
    """An encoder of one layer with one map (or LayerNorm), and a head of its own."""

    base_model_prefix = "encoder"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Module()
        layer = nn.Module()
        layer.query = module
        self.encoder.layer = nn.ModuleList([layer])
        self.classifier = nn.Linear(2, 2, dtype=torch.float64)
        self.module = [module]
        self.config: Any = PretrainedConfig()
        self.config.num_hidden_layers = 1

    @property
    def base_model(self) -> nn.Module:
        return self.encoder

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.encoder.layer[0].query(x)
        return out


def linear(weight: Any, bias: Any) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), dtype=torch.float64)
    layer.weight.data, layer.bias.data = tensor(weight), tensor(bias)
    return layer


def embedded_ids(embeddings: Any) -> tuple[list[Any], Tensor]:
    """A table with a row for every position of (batch, length, width), and the ids that look them up."""
    rows = tensor(embeddings)
    return rows.flatten(0, 1).tolist(), torch.arange(rows.shape[0] * rows.shape[1]).view(rows.shape[:2])


def hooked(method: Method, model: Any, **context: Any) -> Composed:
    return compose({type(method).__name__: method}, model, Context(**context))


def one_backward(hooks: Composed, model: Any, batch: Batch) -> Tensor:
    """The loss of one update, whose gradients are left."""

    def inner(pieces: list[Batch]) -> Tensor:
        loss = hooks.loss(pieces[0], forward_of(model), objective)[0]
        loss.backward()
        return loss.detach()

    return hooks.backward([batch], inner)


def given_noise(monkeypatch: pytest.MonkeyPatch, draw: Callable[[Tensor, str], Tensor]) -> None:
    """Every source of noise draws this, of a tensor and a site."""

    class Given(NoiseSource):
        def normal(self, like: Tensor, site: str) -> Tensor:
            return draw(like, site)

        uniform = normal

    monkeypatch.setattr("hype_bench.contract.randomness.NoiseSource", Given)


def named_gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def close(actual: Any, expected: Any, atol: float = 1e-9) -> None:
    torch.testing.assert_close(torch.as_tensor(actual), tensor(expected), atol=atol, rtol=0)
