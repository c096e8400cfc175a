"""R4F: the head's projection divided by its largest singular value, which power iterations in NumPy follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, forward_of, task_loss
from hype_bench.methods.r3f import R3F, R4F
from hype_bench.models.layers import output_projection
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, logits_of, still, tiny, train
from tests.methods.noise_by_hand import (
    assert_close,
    attach,
    drawn,
    embedded_pass,
    gradients,
    train_by_hand,
    unequal,
)

FAMILIES = ("bert", "roberta", "electra", "xlnet")


class Head:
    """The projection of a reference model: one power iteration a pass, its two vectors fixed in the gradient."""

    def __init__(self, model: Any, attached_model: Any) -> None:
        estimate = output_projection(attached_model).parametrizations.weight[0]
        self.u, self.v = estimate._u.numpy().copy(), estimate._v.numpy().copy()
        self.projection: Any = output_projection(model)

    def iterate(self) -> None:
        weight = self.projection.weight.detach().numpy()
        self.u = weight @ self.v / np.linalg.norm(weight @ self.v)
        self.v = weight.T @ self.u / np.linalg.norm(weight.T @ self.u)

    def divided(self) -> Tensor:
        weight = self.projection.weight
        return weight / (torch.from_numpy(np.outer(self.u, self.v)) * weight).sum()

    def __call__(self, features: Tensor) -> Tensor:
        self.iterate()
        logits = features @ self.divided().T
        return logits if self.projection.bias is None else logits + self.projection.bias


def update_by_hand(model: Any, head: Head, batch: Batch, draw: Tensor, method: R4F) -> Tensor:
    draw = draw.transpose(0, 1) if model.config.model_type == "xlnet" else draw
    noise = method.scale * (draw if method.distribution == "normal" else 2 * draw - 1)
    head.projection.forward = head
    clean = forward_of(model)(batch).logits
    noised = embedded_pass(model, batch, noise, detach=True)
    del head.projection.forward
    if batch["labels"].is_floating_point():
        apart = ((clean - noised) ** 2).sum() / len(clean)
    else:
        log_p, log_q = clean.log_softmax(-1), noised.log_softmax(-1)
        apart = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum() / len(clean)
    loss = task_loss(clean, batch["labels"]) + method.weight * apart
    loss.backward()
    return loss


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("family", "outputs"), [*((family, 3) for family in FAMILIES), ("bert", 1)])
def test_against_passes_by_hand(family: str, outputs: int, distribution: str) -> None:
    """Loss, gradients, and the weights after one and three updates of a padded batch."""
    batch, method = unequal(outputs, family), R4F(scale=0.5, distribution=distribution, weight=0.7)
    model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
    attached = attach(method, model)
    head = Head(reference, model)
    loss = attached.backward(batch)
    (draw,) = drawn(attached)
    by_hand = update_by_hand(reference, head, batch, draw, method)
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-12)
    ours = {key.replace("parametrizations.weight.original", "weight"): g for key, g in gradients(model).items()}
    assert_close(ours, gradients(reference), atol=1e-12)

    for count in (1, 3):
        model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
        attached = attach(method, model)
        head = Head(reference, model)
        losses = list(train(model, attached.hooks, batch, count))
        draws = iter(drawn(attached))
        expected = train_by_hand(
            reference, count, lambda r=reference, h=head, d=draws: update_by_hand(r, h, batch, next(d), method)
        )
        assert losses == pytest.approx(expected, abs=1e-10)
        assert next(draws, None) is None
        attached.hooks.finish()
        head.projection.weight.data = head.divided().detach()
        assert_close(model.state_dict(), reference.state_dict(), atol=1e-9)


@pytest.mark.parametrize("outputs", [3, 1])
def test_after_many_passes_the_largest_singular_value_is_numpy_s(outputs: int) -> None:
    """And what the passes use has 1; in evaluation the estimate stays; ``finish`` leaves the divided weight."""
    model, batch = still(tiny("bert", outputs)), batch_of(outputs)
    raw = output_projection(model).weight.detach().numpy().copy()
    attached = attach(R4F(weight=0.0), model)
    projection = output_projection(model)
    for _ in range(500):
        _ = projection.weight
    largest = np.linalg.svd(raw, compute_uv=False)[0]
    np.testing.assert_allclose(projection.weight.detach().numpy(), raw / largest, atol=1e-10, rtol=0)
    assert np.linalg.svd(projection.weight.detach().numpy(), compute_uv=False)[0] == pytest.approx(1, abs=1e-10)
    assert abs(largest - 1) > 0.1
    features = torch.randn(5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = features.numpy() @ raw.T / largest + projection.bias.detach().numpy()
    np.testing.assert_allclose(projection(features).detach().numpy(), expected, atol=1e-9, rtol=0)

    model.eval()
    before = logits_of(model, batch)
    attached.hooks.finish()
    assert torch.equal(logits_of(model, batch), before)
    assert type(projection) is torch.nn.Linear
    np.testing.assert_allclose(projection.weight.detach().numpy(), raw / largest, atol=1e-10, rtol=0)


def test_the_gradient_runs_through_the_division() -> None:
    """With G the gradient of the divided weight W': ``(G - <G, W'> u v^T) / sigma``, u and v from NumPy."""
    model, batch = still(tiny("bert")), batch_of(3)
    raw = output_projection(model).weight.detach().numpy().copy()
    attached = attach(R4F(weight=0.0), model)
    for _ in range(500):
        _ = output_projection(model).weight
    attached.backward(batch)
    ours = output_projection(model).parametrizations.weight.original.grad.numpy()

    u, values, vt = np.linalg.svd(raw)
    reference = still(tiny("bert"))
    output_projection(reference).weight.data = torch.from_numpy(raw / values[0])
    task_loss(forward_of(reference)(batch).logits, batch["labels"]).backward()
    gradient = output_projection(reference).weight.grad.numpy()
    along = np.sum(gradient * raw / values[0])
    np.testing.assert_allclose(ours, (gradient - along * np.outer(u[:, 0], vt[0])) / values[0], atol=1e-10, rtol=0)
    assert abs(along) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_of_the_projection_does_not_matter(family: str) -> None:
    losses = []
    for factor in (1.0, 50.0):
        model, batch = still(tiny(family)), unequal(3, family)
        output_projection(model).weight.data *= factor
        attached = attach(R4F(scale=0.5), model)
        losses.append(attached.loss(batch).item())
        attached.hooks.finish()
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)


def test_one_power_iteration_a_training_pass_and_none_in_evaluation() -> None:
    """Two passes an update."""
    model, batch = still(tiny("bert")), batch_of(3)
    attached = attach(R4F(), model)
    estimate = output_projection(model).parametrizations.weight[0]
    head = Head(still(tiny("bert")), model)
    attached.loss(batch)
    for _ in range(2):
        head.iterate()
    np.testing.assert_allclose(estimate._u.numpy(), head.u, atol=1e-12, rtol=0)
    np.testing.assert_allclose(estimate._v.numpy(), head.v, atol=1e-12, rtol=0)
    before = estimate._u.clone()
    logits_of(model.eval(), batch)
    assert torch.equal(estimate._u, before)
    logits_of(model.train(), batch)
    assert not torch.equal(estimate._u, before)


def test_its_first_vectors_come_from_its_own_seed_and_leave_torch_alone() -> None:
    vectors = []
    for torch_seed, seed in ((0, 3), (1, 3), (1, 4)):
        model = still(tiny("bert"))
        torch.manual_seed(torch_seed)
        state = torch.get_rng_state()
        attach(R4F(), model, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        vectors.append(output_projection(model).parametrizations.weight[0]._u.clone())
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[1], vectors[2])


def test_not_with_r3f() -> None:
    with pytest.raises(UserError, match="r3f and r4f cannot be combined"):
        compose({"r3f": R3F(), "r4f": R4F()}, tiny("bert"), Context())
