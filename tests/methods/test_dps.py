"""DPS: stages counted, thresholds and both scores by hand, the mixed weights read off the images of unit vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, forward_of, objective
from hype_bench.methods.dps import DPS, chosen, frequency_penalised, in_second_stage
from hype_bench.models.hidden_dropout import all_dropouts
from hype_bench.options import UserError
from hype_bench.testing.tiny import batch_of, context_of, tiny
from tests.methods.by_hand import Array, copied

Given = Callable[[int, str, Any], Tensor]  # number of the update, name, parameter -> its gradient


class Parts(nn.Module):
    """Two linear maps, and two kinds of weights that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(4, 5), nn.LayerNorm(5)
        self.first, self.head = nn.Linear(5, 4), nn.Linear(4, 3)
        self.double()


class Map(nn.Module):
    """One linear map from unit vectors, so that its output is its weight; checkpointed or not."""

    def __init__(self, inputs: int, outputs: int, context: Context | None = None) -> None:
        super().__init__()
        self.map, self.context = nn.Linear(inputs, outputs).double(), context
        self.unit = torch.eye(inputs, dtype=torch.float64)

    def forward(self) -> Tensor:
        """The weight that is in effect, (outputs, inputs)."""
        if self.context is None:
            return (self.map(self.unit) - self.map.bias).T
        output = checkpoint(self.map, self.unit, use_reentrant=False, context_fn=self.context.checkpointed)
        return (output - self.map.bias).T


class Pair(nn.Module):
    """Two maps side by side; gives the weights that are in effect, (2, outputs, inputs)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList([Map(400, 2), Map(400, 2)])

    def forward(self) -> Tensor:
        return torch.stack([single() for single in self.maps])


def draw(update: int, name: str, p: Any) -> Tensor:
    """A gradient of its own for every update and parameter, without ties."""
    generator = torch.Generator().manual_seed(1000 * update + sum(name.encode()))
    return torch.randn(p.shape, dtype=p.dtype, generator=generator)


def leaves(hooks: Composed, model: Any, update: int, given: Given = draw) -> dict[str, tuple[Array, Array]]:
    """One update with these gradients: what every parameter got, and what the technique leaves of it."""
    got = {name: given(update, name, p) for name, p in model.named_parameters()}

    def inner(pieces: list[Batch]) -> Tensor:
        for name, p in model.named_parameters():
            p.grad = got[name].clone()
        return torch.zeros(())

    hooks.backward([{}], inner)
    return {name: (copied(got[name]), copied(p.grad)) for name, p in model.named_parameters()}


def best(score: Array, p: float) -> Array:
    """Entry by entry as methods.md 22: 1 from the ceil(n (1 - p))-th largest upwards."""
    ordered = sorted(score.flatten().tolist(), reverse=True)
    threshold = ordered[math.ceil(len(ordered) * (1 - p)) - 1]
    kept: Array = np.array([float(s >= threshold) for s in score.flatten().tolist()]).reshape(score.shape)
    return kept


@pytest.mark.parametrize("stage", [1, 2, 3, 23])
def test_stages_alternate(stage: int) -> None:
    expected = ([False] * stage + [True] * stage) * 3
    assert [in_second_stage(step, stage) for step in range(1, 6 * stage + 1)] == expected


@pytest.mark.parametrize(
    ("updates", "ratio", "stage"),
    [
        (468, 0.05, 23),
        (690, 0.05, 34),
        (1080, 0.05, 54),
        (1605, 0.05, 80),
        (100, 0.29, 28),
        (12, 0.25, 3),
        (5, 0.05, 1),
    ],
)
def test_length_of_a_stage(updates: int, ratio: float, stage: int) -> None:
    """``int(updates * ratio)``, which by floating point is 28 of 100 for 0.29; one at least."""
    model: Any = Parts()
    hooks = compose({"dps": DPS(stage_ratio=ratio)}, model, Context(updates=updates))
    for update in range(1, 4 * stage + 2):
        _, left = leaves(hooks, model, update)["first.weight"]
        assert bool((left == 0).any()) == ((update - 1) // stage % 2 == 1), update


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("shape", [(10,), (4, 5), (1, 1), (7, 3)])
def test_thresholds_against_a_sorted_list(shape: tuple[int, ...], p: float) -> None:
    score = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(chosen(score, p).numpy(), best(score.numpy(), p))
    assert int(chosen(score, p).sum()) == math.ceil(score.numel() * (1 - p))


def test_floating_point_rounds_three_of_ten_up_to_four() -> None:
    """methods.md 22: ceil(10 * (1 - 0.7)) = 4."""
    assert chosen(torch.arange(10.0), 0.7).tolist() == [0.0] * 6 + [1.0] * 4


def test_ties_are_kept() -> None:
    assert chosen(torch.tensor([2.0, 1.0, 2.0, 2.0, 0.0]), 0.6).tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert chosen(torch.zeros(3, 2), 0.5).tolist() == [[1.0, 1.0]] * 3


def test_dense_masks_are_the_largest_sums_of_squares_of_their_stage() -> None:
    """Two rounds of stages of three updates: the mask is fixed within a second stage, forgets it and earlier rounds,
    and acts on linear weights only."""
    model: Any = Parts()
    hooks = compose({"dps": DPS(p=0.3, stage_ratio=0.25)}, model, Context(updates=12))
    score: dict[str, Array] = {}
    whole: dict[str, Array] = {}  # what the score would be without forgetting
    masks: dict[tuple[str, int], Array] = {}
    for update in range(1, 13):
        for name, (got, left) in leaves(hooks, model, update).items():
            if name not in ("first.weight", "head.weight"):
                assert np.array_equal(left, got), name
                continue
            if update % 6 == 1:
                score[name] = np.zeros_like(got)
            whole[name] = whole.get(name, 0.0) + got**2
            if (update - 1) // 3 % 2 == 0:
                score[name] = score[name] + got**2
                assert np.array_equal(left, got), (name, update)
            else:
                mask = masks[name, update // 7] = best(score[name], 0.3)
                assert np.array_equal(left, got * mask), (name, update)
                assert np.array_equal(left == 0, mask == 0), (name, update)
    for name in score:
        assert not np.array_equal(masks[name, 0], masks[name, 1])
        assert not np.array_equal(masks[name, 1], best(whole[name], 0.3))


def test_with_p_zero_dense_masks_nothing() -> None:
    model: Any = Parts()
    hooks = compose({"dps": DPS(p=0.0, stage_ratio=0.5)}, model, Context(updates=2))
    for update in (1, 2):
        assert all(np.array_equal(got, left) for got, left in leaves(hooks, model, update).values())


def test_every_linear_map_of_a_classifier_pooler_and_head_too() -> None:
    """With weights that do not move every update has the same gradient, and the mask keeps its largest entries."""
    batch, model = batch_of(3), tiny("bert").train()
    hooks = compose({"dps": DPS(p=0.3, stage_ratio=0.5)}, model, context_of(batch, updates=4))
    grads: list[dict[str, Array]] = []

    def inner(pieces: list[Batch]) -> Tensor:
        model.zero_grad()
        loss, _ = objective(pieces[0], forward_of(model))
        loss.backward()
        return loss.detach()

    for _ in range(3):
        hooks.backward([batch], inner)
        grads.append({name: copied(p.grad) for name, p in model.named_parameters()})
    first, second, third = grads
    masked = {name for name in first if not np.array_equal(first[name], third[name])}
    assert masked == {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert {"bert.pooler.dense.weight", "classifier.weight"} <= masked
    for name in first:
        assert np.array_equal(first[name], second[name]), name
        if name in masked:
            assert np.array_equal(third[name], first[name] * best(first[name].astype(float) ** 2, 0.3)), name
            assert np.count_nonzero(third[name]) == math.ceil(first[name].size * 0.7), name


@pytest.mark.parametrize(
    ("variant", "updates", "dropout"),
    [("dense", 1999, 0.0), ("dense", 2000, 0.1), ("mix", 1999, 0.0), ("mix", 2000, 0.0)],
)
def test_dropout_stays_only_in_long_dense_runs(variant: str, updates: int, dropout: float) -> None:
    model = tiny("bert")
    compose({"dps": DPS(variant=variant)}, model, Context(updates=updates))
    assert {module.p for module in all_dropouts(model).values()} == {dropout}


def test_frequency_against_a_loop_over_entries() -> None:
    """Without a penalty below stages of 50 updates; what was never chosen counts as chosen once."""
    torch.manual_seed(0)
    score, counts = torch.rand(3, 4, dtype=torch.float64), torch.tensor([0.0, 1.0, 7.0, 40.0], dtype=torch.float64)
    for stage in (2, 49, 50, 80):
        penalised = frequency_penalised(score, counts, stage)
        for row, values in zip(penalised.tolist(), score.tolist(), strict=True):
            for new, s, c in zip(row, values, counts.tolist(), strict=True):
                penalty = math.exp(-max(c, 1.0) / stage) if stage >= 50 else 1.0
                assert new == pytest.approx(s / max(c, 1.0) * penalty, rel=1e-14)


class Mixed:
    """A map under ``mix`` with p = 1/4 and everything by which its next update can be foretold."""

    p = 0.25

    def __init__(self, stage: int, context: Context | None = None) -> None:
        shared = context or Context(seed=2, updates=4 * stage)
        torch.manual_seed(0)
        self.model = cast(Any, Map(20, 15, context))
        self.weight: Any = self.model.map.weight
        self.pretrained = copied(self.weight)
        self.hooks = compose({"dps": DPS(p=self.p, stage_ratio=0.25, variant="mix")}, self.model, shared)
        self.update = 0
        self.move()

    def move(self) -> None:
        """What an optimizer would do."""
        self.update += 1
        self.weight.data += draw(self.update, "move", self.weight)

    def run(self) -> tuple[Array, Array, Array]:
        """The weight in effect during an update, the gradient with respect to it, and the one that is left."""
        upstream, seen = draw(self.update, "upstream", self.weight), []

        def inner(pieces: list[Batch]) -> Tensor:
            self.weight.grad = None
            seen.append(self.model())
            (seen[0] * upstream).sum().backward()
            return torch.zeros(())

        self.hooks.backward([{}], inner)
        return copied(seen[0]), copied(upstream), copied(self.weight.grad)


@pytest.mark.parametrize("stage", [2, 49, 50])
def test_mixed_stages_by_hand(stage: int) -> None:
    """First stages: Mixout towards the pre-trained weight, whose masks are read off the effective weight. Second
    stages: towards the weight at their start, with the entries of the largest mean, less for those often chosen."""
    mixed, mask, target = Mixed(stage), np.ones(0), np.ones(0)
    score, counts = np.zeros((15, 20)), np.zeros(20)
    for update in range(1, 3 * stage + 2):
        weight = copied(mixed.weight)
        effective, upstream, gradient = mixed.run()
        if (update - 1) // stage % 2 == 0:
            if update == 2 * stage + 1:  # the second round
                score, counts = np.zeros((15, 20)), np.zeros(20)
            target = mixed.pretrained
            keep = np.array([not np.allclose(effective[:, i], target[:, i], atol=1e-13) for i in range(20)], float)
            score, counts = score + (upstream * keep) ** 2, counts + keep
        else:
            if update % stage == 1:
                mean, seldom = score / np.maximum(counts, 1), np.exp(-np.maximum(counts, 1) / stage)
                mask, target = best(mean * seldom if stage >= 50 else mean, mixed.p), weight
                assert stage == 2 or not np.array_equal(best(mean * seldom, mixed.p), best(mean, mixed.p))
            keep = mask
        expected = ((1 - keep) * target + keep * weight - mixed.p * target) / (1 - mixed.p)
        np.testing.assert_allclose(effective, expected, atol=1e-12, rtol=0, err_msg=f"update {update}")
        np.testing.assert_allclose(gradient, upstream * keep, atol=1e-14, rtol=0, err_msg=f"update {update}")
        mixed.move()
    mixed.model.eval()
    torch.testing.assert_close(mixed.model(), mixed.weight, atol=1e-14, rtol=0)


def test_mixed_masks_are_the_same_with_gradient_checkpointing() -> None:
    """A pass that is run again in the backward pass counts once, so that a second stage chooses the same entries."""
    masks = []
    for checkpointed in (False, True):
        mixed = Mixed(50, Context(seed=2, updates=200) if checkpointed else None)
        for _ in range(50):
            mixed.run()
            mixed.move()
        masks.append(mixed.run()[2] != 0)
    assert not masks[0].all()
    assert np.array_equal(masks[0], masks[1])


def test_law_of_the_mixed_masks() -> None:
    """Each input neuron of each map and pass is kept with probability 1 - p by itself; weights are right on average."""
    model: Any = Pair()
    hooks = compose({"dps": DPS(p=0.25, stage_ratio=1.0, variant="mix")}, model, Context(updates=100))
    pretrained, passes = torch.stack([m.map.weight.detach().clone() for m in model.maps]), []
    for m in model.maps:
        m.map.weight.data += 1

    def inner(pieces: list[Batch]) -> Tensor:
        passes.append(model().detach() - pretrained)
        return torch.zeros(())

    for _ in range(100):
        hooks.backward([{}], inner)
    distances = torch.stack(passes)  # (updates, maps, outputs, inputs): 0 or 1 / (1 - p)
    masks = (distances > 0.5).double()
    assert torch.equal(masks[:, :, 0], masks[:, :, 1]), "one mask for all outputs"
    masks = masks[:, :, 0]
    assert abs(float(masks.mean()) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / masks.numel())
    between_maps = [masks[:, 0], masks[:, 1]]
    between_passes = [masks[:-1, 0], masks[1:, 0]]
    between_neurons = [masks[:, 0, :-1], masks[:, 0, 1:]]
    for pair in (between_maps, between_passes, between_neurons):
        one, other = (x.flatten() for x in pair)
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / math.sqrt(one.numel())
    spread = math.sqrt(0.25 / 0.75)  # of one entry's distance, which is 1 on average
    assert float((distances.mean(0) - 1).abs().max()) < 5 * spread / math.sqrt(100)
    assert abs(float(distances[:, :, 0].mean()) - 1) < 4 * spread / math.sqrt(masks.numel())


def test_gradients_of_an_update_in_pieces_are_squared_once() -> None:
    model: Any = Parts()
    hooks = compose({"dps": DPS(p=0.5, stage_ratio=0.5)}, model, Context(updates=4))
    weight, score = model.first.weight, torch.zeros(4, 5, dtype=torch.float64)
    whole, apart = draw(1, "whole", weight), draw(2, "apart", weight)

    def inner(pieces: list[Batch]) -> Tensor:
        weight.grad = whole / 2 + apart
        weight.grad += whole / 2 - apart
        return torch.zeros(())

    for _ in range(3):
        score += whole**2
        hooks.backward([{}, {}], inner)
    mask = best(score.numpy(), 0.5)
    assert np.array_equal(weight.grad != 0, mask != 0)
    assert not np.array_equal(mask, best(copied(whole / 2 + apart) ** 2 + copied(whole / 2 - apart) ** 2, 0.5))


def test_the_length_of_the_run_is_needed() -> None:
    model: Any = Parts()
    with pytest.raises(UserError, match="dps needs to know the run's updates"):
        compose({"dps": DPS()}, model, Context())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"p": 1.0}, "p must be at least 0 and below 1"),
        ({"p": -0.1}, "p must be at least 0 and below 1"),
        ({"stage_ratio": 0.0}, "stage_ratio must be above 0 and at most 1"),
        ({"stage_ratio": 1.5}, "stage_ratio must be above 0 and at most 1"),
        ({"variant": "sparse"}, "variant must be one of dense, mix"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        DPS(**options)
