"""SAM and ASAM by hand: how far they climb, the gradient found there, and that nothing else of it stays."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, forward_of
from hype_bench.methods.hype import HyPe
from hype_bench.methods.sam import SAM, ascent
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, cut, still, tiny
from tests.methods.by_hand import Array, copied

RHO = 0.3


def climbed(weights: list[Array], gradients: list[Array], rho: float, adaptive: bool) -> list[Array]:
    """Where the ascent leads, by methods.md 21."""
    if adaptive:
        norm = math.sqrt(sum(float(np.sum((np.abs(w) * g) ** 2)) for w, g in zip(weights, gradients, strict=True)))
        return [w + rho * w**2 * g / (norm + 1e-12) for w, g in zip(weights, gradients, strict=True)]
    norm = math.sqrt(sum(float(np.sum(g**2)) for g in gradients))
    return [w + rho * g / (norm + 1e-12) for w, g in zip(weights, gradients, strict=True)]


def loss_of(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy in float64, which finite differences need."""
    return torch.nn.functional.cross_entropy(forward_of(model)(batch).logits, batch["labels"])


def gradients_at(model: Any, batch: Batch) -> list[Tensor]:
    """Of the whole batch's mean loss, in one piece."""
    return list(torch.autograd.grad(loss_of(model, batch), [p for p in model.parameters() if p.requires_grad]))


@pytest.mark.parametrize("adaptive", [False, True])
def test_ascent_against_a_loop_over_entries(adaptive: bool) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(shape, dtype=torch.float64) for shape in ((3, 4), (5,), ())]
    gradients = [torch.randn_like(w) for w in weights]
    entries = [(w, g) for p, q in zip(weights, gradients, strict=True)
               for w, g in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True)]  # fmt: skip
    norm = math.sqrt(sum((abs(w) * g if adaptive else g) ** 2 for w, g in entries))
    climbed = torch.cat([step.flatten() for step in ascent(weights, gradients, RHO, adaptive)]).tolist()
    expected = [RHO * (w * w if adaptive else 1.0) * g / norm for w, g in entries]
    assert climbed == pytest.approx(expected, rel=1e-11, abs=1e-14)
    if not adaptive:
        assert math.sqrt(sum(e * e for e in climbed)) == pytest.approx(RHO, rel=1e-11)


def test_adaptive_ascent_does_not_depend_on_the_scale_of_a_weight() -> None:
    """Kwon et al. 2021: with w -> c w, and g -> g / c, the ascent relative to the weight is the same."""
    weights, gradients = [torch.tensor([1.0, -2.0]), torch.tensor([0.5])], [torch.tensor([3.0, 1.0]), torch.ones(1)]
    plain = ascent(weights, gradients, RHO, adaptive=True)
    scaled = ascent([10 * weights[0], weights[1]], [gradients[0] / 10, gradients[1]], RHO, adaptive=True)
    torch.testing.assert_close(scaled[0] / 10, plain[0])
    torch.testing.assert_close(scaled[1], plain[1])


@pytest.mark.parametrize("adaptive", [False, True])
def test_no_gradient_no_ascent(adaptive: bool) -> None:
    assert ascent([torch.ones(2)], [torch.zeros(2)], RHO, adaptive)[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("adaptive", [False, True])
def test_one_update_by_hand(adaptive: bool) -> None:
    """An update in two pieces, with frozen embeddings: the loss and the weights are those of before, the gradient is
    the one at the climbed point, confirmed by finite differences of the loss there."""
    batch, model = batch_of(3), still(tiny("bert"))
    model.bert.embeddings.requires_grad_(False)
    start = deepcopy(model)
    hooks = compose({"sam": SAM(rho=RHO, adaptive=adaptive)}, model, Context())
    seen: list[dict[str, Array]] = []

    def inner(pieces: list[Batch]) -> Tensor:
        seen.append({name: copied(p) for name, p in model.named_parameters()})
        losses = [loss_of(model, piece) / len(pieces) for piece in pieces]
        for loss in losses:
            loss.backward()
        return torch.stack(losses).sum().detach()

    loss = hooks.backward(cut(batch, 4), inner)
    assert loss.item() == pytest.approx(loss_of(start, batch).item(), abs=1e-14)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), start.parameters(), strict=True))

    moving = [name for name, p in start.named_parameters() if p.requires_grad]
    before = [copied(p) for p in start.parameters() if p.requires_grad]
    above = climbed(before, [copied(g) for g in gradients_at(start, batch)], RHO, adaptive)
    first, second = seen
    for name, w, w_above in zip(moving, before, above, strict=True):
        assert np.array_equal(first[name], w), name
        np.testing.assert_allclose(second[name], w_above, atol=1e-13, rtol=0, err_msg=name)
    for name, p in start.named_parameters():
        assert name in moving or np.array_equal(second[name], copied(p)), f"{name} is frozen and climbed"

    top = deepcopy(start)
    for name, p in top.named_parameters():
        p.data = torch.from_numpy(second[name])
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    for name, one, other in zip(moving, gradients, gradients_at(top, batch), strict=True):
        torch.testing.assert_close(one, other, atol=1e-14, rtol=0, msg=name)
    assert slope(top, moving, batch) == pytest.approx(along(moving, gradients), rel=1e-6)
    assert slope(start, moving, batch) != pytest.approx(along(moving, gradients), rel=1e-2)


def direction(name: str, like: Any) -> Tensor:
    return torch.sin(torch.arange(like.numel(), dtype=torch.float64) + len(name)).view(like.shape)


def along(names: list[str], gradients: list[Any]) -> float:
    return sum(float((g * direction(name, g)).sum()) for name, g in zip(names, gradients, strict=True))


@torch.no_grad()
def slope(model: Any, names: list[str], batch: Batch, h: float = 1e-6) -> float:
    """The derivative of the loss along ``direction`` by central differences."""
    losses = []
    for sign in (1, -1):
        shifted = deepcopy(model)
        for name, p in shifted.named_parameters():
            if name in names:
                p += sign * h * direction(name, p)
        losses.append(float(loss_of(shifted, batch)))
    return (losses[0] - losses[1]) / (2 * h)


@pytest.mark.parametrize("first", ["sam", "hype"])
def test_both_passes_have_the_same_dropout_and_the_same_noise(first: str) -> None:
    """Without an ascent the two passes of an update give the same logits; the next update's differ."""
    model = tiny("bert").train()
    methods: dict[str, Any] = {"sam": SAM(rho=0.0), "hype": HyPe(scale=0.5, dropout=None)}
    hooks = compose(methods if first == "sam" else dict(reversed(methods.items())), model, Context(seed=1))
    passes: list[Tensor] = []

    def inner(pieces: list[Batch]) -> Tensor:
        logits = forward_of(model)(pieces[0]).logits
        passes.append(logits.detach())
        logits.sum().backward()
        return logits.sum().detach()

    for _ in range(2):
        hooks.backward([batch_of(3)], inner)
    hooks.finish()
    one, again, two, two_again = passes
    assert torch.equal(one, again)
    assert torch.equal(two, two_again)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_climbed_pass_has_the_masks_of_the_first(p: float) -> None:
    """With an ascent the logits differ; what dropout sets to zero does not."""
    model = tiny("bert").train()
    model.bert.embeddings.dropout.p = p
    dropped: list[Tensor] = []
    hook = model.bert.embeddings.dropout.register_forward_hook(lambda m, x, y: dropped.append(y.detach() == 0))
    hooks = compose({"sam": SAM(rho=RHO)}, model, Context())
    logits: list[Tensor] = []

    def inner(pieces: list[Batch]) -> Tensor:
        logits.append(forward_of(model)(pieces[0]).logits)
        logits[-1].square().sum().backward()
        return logits[-1].sum().detach()

    hooks.backward([batch_of(3)], inner)
    hook.remove()
    assert torch.equal(dropped[0], dropped[1])
    share, count = float(dropped[0].double().mean()), dropped[0].numel()
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / count)
    assert not torch.allclose(logits[0], logits[1], atol=1e-4)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(UserError, match="rho must be at least 0"):
        SAM(rho=-0.1)
