"""A packed row of ModernBERT, with its local attention and both ways of pooling, equals the padded batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.contract.objective import Batch, task_loss
from hype_bench.models import packing
from hype_bench.models.attention import Packing, attend_each
from hype_bench.models.packing import attach_packing, can_pack, first_position
from hype_bench.models.padded_attention import attend_padded
from hype_bench.training.batches import Collator
from hype_bench.training.tokens import Tokens
from tests.architectures import architecture

LENGTHS = [30, 3, 1, 9, 12, 5]


def classifier(pooling: str) -> Any:
    model = architecture("modernbert", dropout=0.0).double().train()
    model.config.classifier_pooling = pooling
    return model


def tokens() -> Tokens:
    ids = np.random.default_rng(0).integers(4, 60, sum(LENGTHS)).astype(np.int32)
    return Tokens(ids, None, np.cumsum([0, *LENGTHS]), np.arange(len(LENGTHS)) % 3)


def batch_of(model: Any, packed: bool) -> Batch:
    collate = Collator(packed, torch.device("cpu"), first_position(model) if packed else 0, 0, False)
    return collate(tokens(), np.arange(len(LENGTHS)))


def run(model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    labels = batch.pop("labels")
    logits = model(**batch).logits
    task_loss(logits, labels).backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("attend", [attend_each, attend_padded])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_packed_equals_padded(pooling: str, attend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "attend_each", attend)
    model = classifier(pooling)
    assert can_pack(model)
    logits, gradients = run(model, batch_of(model, packed=False))
    detach = attach_packing(model)
    packed_logits, packed_gradients = run(model, batch_of(model, packed=True))
    torch.testing.assert_close(packed_logits, logits, atol=1e-12, rtol=0)
    assert gradients.keys() == packed_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, atol=1e-12, rtol=0)
    detach()
    assert torch.equal(run(model, batch_of(model, packed=False))[0], logits)


def test_the_window_matters_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the same row gives other logits: the test above would see a window that is left out."""
    model = classifier("cls")
    attach_packing(model)
    logits, _ = run(model, batch_of(model, packed=True))
    for layer in model.base_model.layers:
        layer.attn.sliding_window = None
    assert not torch.allclose(run(model, batch_of(model, packed=True))[0], logits, atol=1e-6)


@pytest.mark.parametrize("window", [1, 2, 5, 7, 100])
def test_local_attention_equals_the_formula(window: int) -> None:
    lengths = [7, 1, 4]
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, sum(lengths), 4, dtype=torch.float64, generator=generator) for _ in range(3))
    expected = torch.empty_like(query)
    for start, length in zip(np.cumsum([0, *lengths]), lengths, strict=False):
        for head in range(2):
            for i in range(start, start + length):
                near = [j for j in range(start, start + length) if abs(i - j) < window]
                weights = torch.softmax(0.5 * (key[head, near] @ query[head, i]), 0)
                expected[head, i] = weights @ value[head, near]
    for attend in (attend_each, attend_padded):
        attended = attend(query, key, value, Packing.of(lengths), 0.0, 0.5, window)
        torch.testing.assert_close(attended, expected, atol=1e-12, rtol=0)
