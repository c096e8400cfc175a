"""Which families each technique is held to in ``make test``; for techniques that make several passes one update of an
objective, pass by pass, and a divergence written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.registry import discover
from hype_bench.testing.tiny import FAMILIES
from tests.architectures import REFUSED

Passes = tuple[Tensor, list[Tensor]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The contract in all families is slow: in ``make test`` each technique meets one of them beside BERT, another one
    than the techniques around it in the alphabet."""
    names = list(discover())
    for item in items:
        values: dict[str, Any] = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        name, family = values.get("name") or values.get("neutral_name"), values.get("family", "bert")
        if name in REFUSED.get(family, ()):
            item.add_marker(pytest.mark.skip(f"{name} is refused for {family}"))
        elif name in names and family != "bert" and family != FAMILIES[1:][names.index(name) % len(FAMILIES[1:])]:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def loss_and_passes() -> Callable[..., Passes]:
    """(model, methods, ids, labels) -> the loss of one update, and the logits of every pass it made."""

    def run(model: Any, methods: list[Method], ids: Tensor, labels: Tensor) -> Passes:
        passes: list[Tensor] = []

        def forward(batch: Any) -> Any:
            output = model(input_ids=batch["input_ids"])
            passes.append(output.logits.detach())
            return output

        def objective(batch: Any, inner: Any) -> tuple[Tensor, Any]:
            output = inner(batch)
            if labels.is_floating_point():
                return torch.nn.functional.mse_loss(output.logits.squeeze(-1), labels), output
            return torch.nn.functional.cross_entropy(output.logits, labels), output

        hooks = compose({str(place): method for place, method in enumerate(methods)}, model, Context(seed=4))
        loss, _ = hooks.loss({"input_ids": ids, "labels": labels}, forward, objective)
        hooks.finish()
        return loss, passes

    return run


@pytest.fixture
def divergence() -> Callable[[list[float], list[float]], float]:
    """``KL(p || q) + KL(q || p)`` of two rows of logits, sum by sum."""

    def written_out(first: list[float], second: list[float]) -> float:
        p, q = ([math.exp(v) / sum(map(math.exp, row)) for v in row] for row in (first, second))
        return sum(a * math.log(a / b) + b * math.log(b / a) for a, b in zip(p, q, strict=True))

    return written_out
