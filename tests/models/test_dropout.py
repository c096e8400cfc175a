"""Bulk dropout is dropout: law, scale, gradient, and obedience to torch's generator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hype_bench.models.dropout import BulkDropout, bulk_dropout, drop_, install_bulk_dropout, keep_mask


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_law_on_a_million_entries(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(10**6)
    y = bulk_dropout(x, p)
    kept = round((1 - p) * 65536) / 65536
    fraction = float((y != 0).double().mean())
    assert abs(fraction - kept) < 4 * math.sqrt(kept * (1 - kept) / 10**6)
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([1 / kept]), rtol=1e-6, atol=0)
    neighbours = torch.corrcoef(torch.stack([(y[:-1] != 0).double(), (y[1:] != 0).double()]))[0, 1]
    assert abs(float(neighbours)) < 5e-3


def test_masks_are_independent_between_calls_and_ruled_by_the_seed() -> None:
    x = torch.ones(10**5)
    torch.manual_seed(3)
    first, second = bulk_dropout(x, 0.5), bulk_dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(bulk_dropout(x, 0.5), first)
    assert abs(float(((first != 0) == (second != 0)).double().mean()) - 0.5) < 0.01


def test_gradient_is_the_mask() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5, requires_grad=True)
    y = bulk_dropout(x, 0.3)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, y / x).detach())


def test_ends_of_the_range() -> None:
    x = torch.randn(9)
    assert bulk_dropout(x, 0.0) is x
    assert bulk_dropout(x, 1.0).abs().sum() == 0
    assert bulk_dropout(torch.empty(0, 3), 0.5).shape == (0, 3)


def test_install_and_restore() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.3)))
    original = model[1]
    restore = install_bulk_dropout(model)
    assert isinstance(model[1], BulkDropout)
    assert model[1].p == 0.2
    model.eval()
    x = torch.randn(4, 2)
    assert torch.equal(model[1](x), x)
    model[1].p = 0.0  # what a technique changed meanwhile stays
    restore()
    assert model[1] is original
    assert type(model[2][0]) is nn.Dropout
    assert (original.p, original.training) == (0.0, False)


@pytest.mark.parametrize("shape", [(1,), (7,), (384, 384), (513, 1023), (2**17 + 3,)])
@pytest.mark.parametrize("p", [0.0, 1e-6, 0.3, 0.7, 1.0])
def test_in_parts_and_in_place_is_the_same_mask(shape: tuple[int, ...], p: float) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    mask = keep_mask(values, shape, p, seed=5)
    expected = values if mask is None else values * mask
    changed = values.clone()
    assert drop_(changed, p, seed=5) is changed
    torch.testing.assert_close(changed, expected, rtol=1e-7, atol=0)
    assert torch.equal(changed == 0, expected == 0)
