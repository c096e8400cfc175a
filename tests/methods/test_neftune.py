"""NEFTune against the published bounds, loops over tokens, and passes with ``inputs_embeds`` instead of hooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.objective import Batch, forward_of, objective, task_loss
from hype_bench.methods.neftune import NEFTune, noise_bound
from hype_bench.models.attention import Packing
from hype_bench.models.segments import Segments
from hype_bench.testing.tiny import still, tiny
from tests.methods.noise_by_hand import (
    LENGTHS,
    Table,
    Wave,
    assert_as_by_hand,
    assert_mean_of_examples,
    assert_packed_as_padded,
    assert_uniform,
    attach,
    drawn,
    embedded_pass,
    unequal,
)


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
    segments = Segments.from_inputs({"input_ids": torch.ones(2, tokens)})
    bound = noise_bound(segments, torch.empty(2, tokens, width, dtype=torch.float64), alpha, length)
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


def embeddings_of(segments: Segments) -> Tensor:
    return torch.empty(*segments.mask.shape, 16, dtype=torch.float64)


@pytest.mark.parametrize("length", ["padded", "own"])
@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_bound_at_every_place(family: str, length: str) -> None:
    batch, method = unequal(family=family), NEFTune(length=length)
    expected, segments = by_place(batch, 16, method), Segments.from_inputs(batch, family == "xlnet")
    bound = noise_bound(segments, embeddings_of(segments), method.alpha, length)
    torch.testing.assert_close(bound.transpose(0, 1) if family == "xlnet" else bound, expected, atol=1e-14, rtol=0)

    row = Segments.from_inputs({"input_ids": torch.ones(1, sum(LENGTHS)), "packing": Packing.of(list(LENGTHS))})
    real = batch["attention_mask"].bool()
    bound = noise_bound(row, embeddings_of(row), method.alpha, length)
    torch.testing.assert_close(bound[0], expected[real], atol=1e-14, rtol=0)


@pytest.mark.parametrize("length", ["padded", "own"])
@pytest.mark.parametrize(("family", "outputs"), [("bert", 3), ("bert", 1), ("xlnet", 3), ("electra", 3)])
def test_against_passes_by_hand(family: str, outputs: int, length: str) -> None:
    """Loss, gradients, and the weights after one and three updates of a padded batch."""
    batch, method = unequal(outputs, family), NEFTune(alpha=5.0, length=length)

    def by_hand(model: Any, draws: Iterator[Tensor], _: Any) -> Tensor:
        draw = next(draws)
        assert draw.shape[-1] == (16 if family == "electra" else 32)
        draw = draw.transpose(0, 1) if family == "xlnet" else draw
        noise = (2 * draw - 1) * by_place(batch, draw.shape[-1], method)
        loss = task_loss(embedded_pass(model, batch, noise), batch["labels"])
        loss.backward()
        return loss

    assert_as_by_hand(method, family, batch, by_hand, loss=1e-6, gradient=1e-7, losses=1e-6, weights=1e-6)


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
        attached.hooks.finish()
    assert_uniform(units)


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_with_its_own_length_an_example_does_not_know_its_batch(family: str) -> None:
    """Same noise at every token: a padded batch gives the mean of its examples without padding."""
    assert_mean_of_examples(family, NEFTune(length="own"), atol=1e-7)


@pytest.mark.parametrize("length", ["padded", "own"])
def test_a_packed_row_gets_what_a_padded_batch_gets(length: str) -> None:
    assert_packed_as_padded(NEFTune(length=length), atol=1e-7)


def test_padded_length_makes_noise_smaller_in_a_longer_batch() -> None:
    """The same two examples beside a longer one: ``padded`` divides by the longest, ``own`` does not see it."""
    for length, ratio in (("padded", math.sqrt(12 / 5)), ("own", 1.0)):
        sizes = []
        for lengths in ((5, 3), (5, 3, 12)):
            model = Table(500).train()
            attached = attach(NEFTune(length=length), model, Wave)
            noise = forward_of(model)(unequal(lengths=lengths)).logits.detach()
            sizes.append(float(noise[0, 0].abs().max()))
            attached.hooks.finish()
        assert sizes[0] / sizes[1] == pytest.approx(ratio, rel=1e-6)


def test_noise_is_added_once_and_only_in_training() -> None:
    model, batch = still(tiny("bert")), unequal(3)
    attached = attach(NEFTune(alpha=50.0), model)
    model.eval()
    quiet, _ = objective(batch, forward_of(model))
    assert not drawn(attached)
    loud, _ = objective(batch, forward_of(model.train()))
    assert len(drawn(attached)) == 1
    attached.hooks.finish()
    assert torch.equal(objective(batch, forward_of(model))[0], quiet)
    assert not torch.equal(loud, quiet)
