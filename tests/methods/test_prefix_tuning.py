"""Prefix tuning: attention by hand, packed rows, and that it stays."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.objective import forward_of
from hype_bench.methods.prefix_tuning import PrefixTuning, attend
from hype_bench.models.packing import attach_packing
from hype_bench.options import UserError
from hype_bench.testing.test_ways_of_training import batches
from hype_bench.testing.tiny import FAMILIES, batch_of, context_of, logits_of, still, tiny, train
from tests.architectures import REFUSED, architecture


def test_attention_to_the_prefix_by_hand() -> None:
    """The unified view's form of it: a mixture of attention to the tokens and to the prefix."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=draw) for _ in range(3))
    prefix_key, prefix_value = (torch.randn(3, 2, 4, dtype=torch.float64, generator=draw) for _ in range(2))
    seen = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]
    of_tokens = (q @ k.mT / 2).masked_fill(~seen, -math.inf)
    of_prefix = q @ prefix_key.mT / 2
    share = torch.sigmoid(of_prefix.logsumexp(-1) - of_tokens.logsumexp(-1))[..., None]
    expected = (1 - share) * (of_tokens.softmax(-1) @ v) + share * (of_prefix.softmax(-1) @ prefix_value)
    for mask in (seen, torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -math.inf)):
        torch.testing.assert_close(attend(q, k, v, prefix_key, prefix_value, mask), expected, atol=1e-12, rtol=0)


def trained(family: str) -> tuple[Any, Any, Any, dict[str, Tensor]]:
    model = still(tiny(family) if family in FAMILIES else architecture(family))
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = batch_of(3)
    hooks = compose({"prefix_tuning": PrefixTuning(length=4)}, model, context_of(batch))
    list(train(model, hooks, batch, 3, lr=0.1))
    return model, hooks, batch, start


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_it_stays_and_packed_rows_are_padded_batches(family: str) -> None:
    """Also when the run is over."""
    model, hooks, batch, start = trained(family)
    logits = logits_of(model, batch)
    hooks.finish()
    assert torch.equal(logits_of(model, batch), logits)
    head = {name for name, p in start.items() if not torch.equal(model.get_parameter(name), p)}
    assert head
    assert all(name.startswith(("classifier", "head")) for name in head)
    row, padded = batches()
    expected = forward_of(model)(padded).logits
    detach = attach_packing(model)
    torch.testing.assert_close(forward_of(model)(row).logits, expected, atol=1e-10, rtol=0)
    detach()
    torch.testing.assert_close(forward_of(model)(padded).logits, expected, atol=1e-12, rtol=0)


def test_every_prefix_has_an_effect() -> None:
    model, _, batch, _ = trained("bert")
    before = logits_of(model, batch)
    for layer in model.bert.encoder.layer:
        value = layer.attention.self.prefix_tuning.value
        value.data.neg_()
        assert not torch.allclose(logits_of(model, batch), before)
        value.data.neg_()


@pytest.mark.parametrize("family", sorted(name for name in FAMILIES if "prefix_tuning" in REFUSED.get(name, ())))
def test_attention_that_is_not_exchangeable_is_refused(family: str) -> None:
    with pytest.raises(UserError, match="prefix_tuning is not available for"):
        compose({"prefix_tuning": PrefixTuning()}, tiny(family), context_of(batch_of(3)))
