"""Match-Tuning against its matrix written out, and in evaluation: a prediction does not know its batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.objective import Batch, forward_of, task_loss
from hype_bench.methods.match_tuning import MatchTuning, match
from hype_bench.models.layers import output_projection
from hype_bench.models.packing import attach_packing
from hype_bench.testing.tiny import FAMILIES, logits_of, still, tiny, train
from tests.methods.noise_by_hand import alone, assert_close, attach, gradients, packed, train_by_hand, unequal


def weights_by_hand(features: list[list[float]], temperature: float) -> list[list[float]]:
    """softmax(r r^T / T) over rows."""
    matrix = []
    for one in features:
        scores = [math.exp(sum(a * b for a, b in zip(one, other, strict=True)) / temperature) for other in features]
        matrix.append([score / sum(scores) for score in scores])
    return matrix


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_against_a_loop(temperature: float) -> None:
    features = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = features.tolist()
    matrix = weights_by_hand(rows, temperature)
    expected = [[sum(m * row[j] for m, row in zip(line, rows, strict=True)) for j in range(3)] for line in matrix]
    torch.testing.assert_close(match(features, temperature), torch.tensor(expected, dtype=torch.float64))
    assert not torch.allclose(match(features, temperature), features, atol=0.01)


def test_gradient_reaches_the_matrix_and_what_it_mixes() -> None:
    """Central differences of the loop, at every entry."""
    features = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    probe = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (match(features, 0.8) * probe).sum().backward()

    def mixed(rows: list[list[float]]) -> float:
        total = 0.0
        for line, weights in zip(probe.tolist(), weights_by_hand(rows, 0.8), strict=True):
            for m, row in zip(weights, rows, strict=True):
                total += sum(p * m * v for p, v in zip(line, row, strict=True))
        return total

    for row in range(4):
        for column in range(3):
            values = []
            for step in (1e-5, -1e-5):
                moved = features.tolist()
                moved[row][column] += step
                values.append(mixed(moved))
            assert features.grad[row, column].item() == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-8)


def test_limits() -> None:
    """One example alone and equal examples stay; a high temperature gives the mean of the batch to everyone."""
    features = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(match(features[:1], 0.3), features[:1])
    torch.testing.assert_close(match(features[:1].expand(4, 3), 0.3), features[:1].expand(4, 3))
    torch.testing.assert_close(match(features, 1e12), features.mean(0).expand(4, 3), atol=1e-10, rtol=0)
    orthogonal = 100 * torch.eye(4, dtype=torch.float64)  # nobody is like anybody else: M is the identity
    torch.testing.assert_close(match(orthogonal, 1.0), orthogonal)


def by_hand(model: Any, batch: Batch, temperature: float) -> Tensor:
    """Logits with the head's last input mixed, without a hook: one example's weights after another's."""
    projection: Any = output_projection(model)
    read: list[Tensor] = []
    plain = projection.forward
    projection.forward = lambda features: read.append(features) or plain(features)
    forward_of(model)(batch)
    del projection.forward
    (features,) = read
    logits = []
    for one in features:
        scores = torch.stack([(one * other).sum() / temperature for other in features]).exp()
        mixed = sum(score * other for score, other in zip(scores, features, strict=True)) / scores.sum()
        logits.append(projection.weight @ mixed + (0 if projection.bias is None else projection.bias))
    return torch.stack(logits)


@pytest.mark.parametrize("outputs", [3, 1], ids=["classification", "regression"])
@pytest.mark.parametrize("family", FAMILIES)
def test_against_passes_by_hand(family: str, outputs: int) -> None:
    """Loss, gradients, and the weights after one and three updates."""
    batch, method = unequal(outputs, family), MatchTuning(temperature=0.7)

    def update_by_hand(model: Any) -> Tensor:
        loss = task_loss(by_hand(model, batch, 0.7), batch["labels"])
        loss.backward()
        return loss

    model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
    plain = task_loss(logits_of(model, batch), batch["labels"])
    loss = attach(method, model).backward(batch)
    assert loss.item() == pytest.approx(update_by_hand(reference).item(), abs=1e-12)
    assert abs(loss.item() - plain.item()) > 1e-5
    assert_close(gradients(model), gradients(reference), atol=1e-12)
    for count in (1, 3):
        model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
        attached = attach(method, model)
        losses = list(train(model, attached.hooks, batch, count))
        expected = train_by_hand(reference, count, lambda r=reference: update_by_hand(r))
        assert losses == pytest.approx(expected, abs=1e-10)
        attached.hooks.finish()
        assert_close(model.state_dict(), reference.state_dict(), atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_does_not_depend_on_its_batch(family: str) -> None:
    """In training it does: that is the technique."""
    model, batch = still(tiny(family)), unequal(3, family)
    plain = logits_of(model.eval(), batch)
    attached = attach(MatchTuning(), model)
    assert torch.equal(logits_of(model, batch), plain)
    for index in range(4):
        torch.testing.assert_close(logits_of(model, alone(batch, index))[0], plain[index], atol=1e-10, rtol=0)
    model.train()
    together = logits_of(model, batch)
    assert (together - plain).abs().max() > 1e-4
    for index in range(4):
        torch.testing.assert_close(logits_of(model, alone(batch, index))[0], plain[index], atol=1e-10, rtol=0)
    attached.hooks.finish()
    torch.testing.assert_close(logits_of(model, batch), plain, atol=1e-12, rtol=0)


def test_padding_is_nothing_and_a_packed_row_is_the_same() -> None:
    updates = []
    for batch in (unequal(), unequal(padding=33), packed(unequal())):
        model = still(tiny("bert"))
        if "packing" in batch:
            attach_packing(model)
        loss = attach(MatchTuning(), model).backward(batch)
        updates.append((loss.item(), gradients(model)))
    assert updates[1][0] == updates[0][0]
    assert_close(updates[1][1], updates[0][1], atol=0)
    assert updates[2][0] == pytest.approx(updates[0][0], abs=1e-12)
    assert_close(updates[2][1], updates[0][1], atol=1e-12)
