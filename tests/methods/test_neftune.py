"""NEFTune against the published bounds, loops over places, and passes with ``inputs_embeds`` instead of hooks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.methods.base import forward_of, objective, task_loss
from hype_bench.methods.context import Batch
from hype_bench.methods.neftune import NEFTune, noise_bound
from hype_bench.models.attention import Layout
from hype_bench.models.packing import attach_packing
from hype_bench.models.places import Places
from tests.methods.noise_by_hand import (
    LENGTHS,
    Table,
    Wave,
    alone,
    assert_close,
    assert_unrelated,
    attach,
    drawn,
    embedded_pass,
    gradients,
    packed,
    train_by_hand,
    unequal,
)
from tests.methods.tiny import still, tiny, train


@pytest.mark.parametrize("length", ["padded", "own"])
@pytest.mark.parametrize(
    ("key", "alpha", "tokens", "width"),
    [
        ("alpha5_L128_d768_bound", 5.0, 128, 768),
        ("alpha5_L512_d4096_bound", 5.0, 512, 4096),
        ("alpha10_L128_d1024_bound", 10.0, 128, 1024),
        ("alpha15_L64_d1024_bound", 15.0, 64, 1024),
    ],
)
def test_published_bounds(
    key: str, alpha: float, tokens: int, width: int, length: str, parity: Callable[[str], Any]
) -> None:
    """Without padding the two forms are one."""
    places = Places.of({"input_ids": torch.ones(2, tokens)})
    bound = noise_bound(places, torch.empty(2, tokens, width, dtype=torch.float64), alpha, length)
    assert bound.expand(2, tokens, 1).flatten().tolist() == pytest.approx(
        [parity("neftune")[key]] * 2 * tokens, abs=1e-10
    )


def by_place(batch: Batch, width: int, method: NEFTune) -> Tensor:
    """The bound at every place of a padded batch, (batch, length, 1), in float64."""
    longest = batch["attention_mask"].shape[1]
    table = []
    for mask in batch["attention_mask"].tolist():
        if method.length == "own":
            table.append([[m * method.alpha / math.sqrt(sum(mask) * width)] for m in mask])
        else:
            table.append([[method.alpha / math.sqrt(longest * width)]] * longest)
    return torch.tensor(table, dtype=torch.float64)


@pytest.mark.parametrize("length", ["padded", "own"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_bound_at_every_place(family: str, length: str) -> None:
    batch, method = unequal(family=family), NEFTune(length=length)
    expected, like = by_place(batch, 16, method), torch.empty(1, 1, 16, dtype=torch.float64)
    found = noise_bound(Places.of(batch, family == "xlnet"), like, method.alpha, length)
    torch.testing.assert_close(found.transpose(0, 1) if family == "xlnet" else found, expected, atol=1e-14, rtol=0)

    row = Places.of({"input_ids": torch.ones(1, sum(LENGTHS)), "packing": Layout.of(list(LENGTHS))})
    real = batch["attention_mask"].bool()
    found = noise_bound(row, like, method.alpha, length)
    torch.testing.assert_close(found[0], expected[real], atol=1e-14, rtol=0)


@pytest.mark.parametrize("length", ["padded", "own"])
@pytest.mark.parametrize(("family", "outputs"), [("bert", 3), ("bert", 1), ("xlnet", 3), ("electra", 3)])
def test_against_passes_by_hand(family: str, outputs: int, length: str) -> None:
    """Loss, gradients, and the weights after one and three updates of a padded batch."""
    batch, method = unequal(outputs, family), NEFTune(alpha=5.0, length=length)

    def update_by_hand(model: Any, draw: Tensor) -> Tensor:
        draw = draw.transpose(0, 1) if family == "xlnet" else draw
        noise = (2 * draw - 1) * by_place(batch, draw.shape[-1], method)
        loss = task_loss(embedded_pass(model, batch, noise), batch["labels"])
        loss.backward()
        return loss

    model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
    attached = attach(method, model)
    loss = attached.backward(batch)
    (draw,) = drawn(attached)
    assert draw.shape[-1] == (16 if family == "electra" else 32)
    assert loss.item() == pytest.approx(update_by_hand(reference, draw).item(), abs=1e-6)
    assert_close(gradients(model), gradients(reference), atol=1e-7)
    for count in (1, 3):
        model, reference = still(tiny(family, outputs)), still(tiny(family, outputs))
        attached = attach(method, model)
        losses = list(train(model, attached.moments, batch, count))
        draws = iter(drawn(attached))
        expected = train_by_hand(reference, count, lambda r=reference, d=draws: update_by_hand(r, next(d)))
        assert losses == pytest.approx(expected, abs=1e-6)
        assert next(draws, None) is None
        attached.moments.finish()
        assert_close(model.state_dict(), reference.state_dict(), atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "xlnet"])
@pytest.mark.parametrize("length", ["padded", "own"])
def test_noise_is_uniform_in_a_million_draws(length: str, family: str) -> None:
    """Of every example U(-bound, bound); ``own`` leaves padding alone, ``padded`` noises it like the rest."""
    lengths = (50, 250, 125, 75)
    batch, model = unequal(family=family, lengths=lengths), Table(2000, family)
    mask, units = batch["attention_mask"].bool(), []
    bounds = by_place(batch, 2000, NEFTune(length=length))
    for seed in (3, 4):
        attached = attach(NEFTune(length=length), model.train(), seed=seed)
        for _ in range(2):
            noise = forward_of(model)(batch).logits.detach()
            noise = noise.transpose(0, 1) if family == "xlnet" else noise
            assert bool(noise[~mask].any()) == (length == "padded")
            units.append((noise / bounds)[mask] if length == "own" else (noise / bounds)[:2])
            for example in range(4):
                largest = noise[example][mask[example]].abs().max() / bounds[example].max()
                assert 0.999 < float(largest) <= 1 + 1e-6
        assert not forward_of(model.eval())(batch).logits.any()
        attached.moments.finish()
    unit = units[0].flatten()
    assert unit.numel() == 10**6
    assert abs(float(unit.mean())) < 4 * 3**-0.5 / 1000
    assert float(unit.var()) == pytest.approx(1 / 3, rel=0.005)
    assert_unrelated(unit, units[1])  # another pass
    assert_unrelated(unit, units[2])  # another seed


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_with_its_own_length_an_example_does_not_know_its_batch(family: str) -> None:
    """Same noise at every token: a padded batch gives the mean of its examples without padding."""
    batch = unequal(3, family)
    whole = update(family, NEFTune(length="own"), batch)
    other = update(family, NEFTune(length="own"), unequal(3, family, padding=33))
    assert other[0] == whole[0]
    assert_close(other[1], whole[1], atol=0)
    examples = [update(family, NEFTune(length="own"), alone(batch, index)) for index in range(4)]
    assert sum(loss for loss, _ in examples) / 4 == pytest.approx(whole[0], abs=1e-6)
    assert_close({name: sum(g[name] for _, g in examples) / 4 for name in whole[1]}, whole[1], atol=1e-7)


@pytest.mark.parametrize("length", ["padded", "own"])
def test_a_packed_row_gets_what_a_padded_batch_gets(length: str) -> None:
    batch = unequal(3)
    whole, row = (update("bert", NEFTune(length=length), b) for b in (batch, packed(batch)))
    assert row[0] == pytest.approx(whole[0], abs=1e-6)
    assert_close(row[1], whole[1], atol=1e-7)


def update(family: str, method: NEFTune, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    model = still(tiny(family))
    if "packing" in batch:
        attach_packing(model)
    attached = attach(method, model, Wave)
    loss = float(attached.backward(batch))
    attached.moments.finish()
    return loss, gradients(model)


def test_padded_length_makes_noise_smaller_in_a_longer_batch() -> None:
    """The same two examples beside a longer one: ``padded`` divides by the longest, ``own`` does not see it."""
    for length, ratio in (("padded", math.sqrt(12 / 5)), ("own", 1.0)):
        sizes = []
        for lengths in ((5, 3), (5, 3, 12)):
            model = Table(500).train()
            attached = attach(NEFTune(length=length), model, Wave)
            noise = forward_of(model)(unequal(lengths=lengths)).logits.detach()
            sizes.append(float(noise[0, 0].abs().max()))
            attached.moments.finish()
        assert sizes[0] / sizes[1] == pytest.approx(ratio, rel=1e-6)


def test_noise_is_added_once_and_only_in_training() -> None:
    model, batch = still(tiny("bert")), unequal(3)
    attached = attach(NEFTune(alpha=50.0), model)
    model.eval()
    quiet = objective(batch, forward_of(model))
    assert not drawn(attached)
    loud = objective(batch, forward_of(model.train()))
    assert len(drawn(attached)) == 1
    attached.moments.finish()
    assert torch.equal(objective(batch, forward_of(model)), quiet)
    assert not torch.equal(loud, quiet)
