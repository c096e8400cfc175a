"""Segments of padded, packed and XLNet's hidden states against loops, and against what an example can change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.models.attention import Packing
from hype_bench.models.layers import encoder_layers
from hype_bench.models.packing import attach_packing
from hype_bench.models.segments import CurrentSegments, Segments
from hype_bench.testing.tiny import FAMILIES, still, tiny
from tests.architectures import architecture
from tests.methods.noise_by_hand import LENGTHS, packed, unequal

LAYOUTS = ("padded", "padded left", "packed", "xlnet")


def segments_of(layout: str) -> Segments:
    if layout == "packed":
        return Segments.from_inputs({"input_ids": torch.ones(1, sum(LENGTHS)), "packing": Packing.of(list(LENGTHS))})
    batch = unequal(family="bert" if layout == "padded" else "xlnet")
    return Segments.from_inputs(batch, length_first=layout == "xlnet")


def expected(layout: str) -> list[list[tuple[int, bool]]]:
    """For every place the example there, and whether it is a token of it."""
    longest = max(LENGTHS)
    if layout == "packed":
        return [[(example, True) for example, length in enumerate(LENGTHS) for _ in range(length)]]
    right = [[(example, at < length) for at in range(longest)] for example, length in enumerate(LENGTHS)]
    if layout == "padded":
        return right
    left = [row[::-1] for row in right]
    return left if layout == "padded left" else [[row[at] for row in left] for at in range(longest)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_position(layout: str) -> None:
    segments, table = segments_of(layout), expected(layout)
    assert segments.ids.tolist() == [[example for example, _ in row] for row in table]
    assert segments.mask.tolist() == [[real for _, real in row] for row in table]
    assert segments.mask.dtype == torch.bool
    assert (segments.examples, segments.padded_length) == (4, 7)
    assert segments.lengths.tolist() == list(LENGTHS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_and_spread_against_a_loop(layout: str) -> None:
    """The norm of an example is over all its positions, padding included: what is there decides."""
    segments, table = segments_of(layout), expected(layout)
    x = torch.randn(*segments.ids.shape, 3, generator=torch.Generator().manual_seed(1))
    squares = [0.0] * 4
    for row, values in zip(table, x.tolist(), strict=True):
        for (example, _), value in zip(row, values, strict=True):
            squares[example] += sum(v * v for v in value)
    assert segments.norms(x).tolist() == pytest.approx([s**0.5 for s in squares], rel=1e-6)
    spread = segments.broadcast(torch.tensor([10.0, 11.0, 12.0, 13.0]))
    assert spread.squeeze(-1).tolist() == [[10.0 + example for example, _ in row] for row in table]
    assert spread.shape == (*segments.ids.shape, 1)


@pytest.mark.parametrize("length_first", [False, True])
def test_without_a_mask_everything_is_real(length_first: bool) -> None:
    segments = Segments.from_inputs({"input_ids": torch.ones(2, 5)}, length_first)
    assert segments.mask.all()
    assert segments.mask.shape == segments.ids.shape == ((5, 2) if length_first else (2, 5))
    assert segments.lengths.tolist() == [5, 5]


def test_norms_are_differentiable_sums_in_float32_of_any_precision() -> None:
    segments = Segments.from_inputs({"input_ids": torch.ones(2, 1)})
    x = torch.tensor([[[3.0, 4.0]], [[6.0, 8.0]]], dtype=torch.bfloat16, requires_grad=True)
    norms = segments.norms(x)
    assert norms.dtype == torch.float32
    norms[0].backward()
    torch.testing.assert_close(x.grad, torch.tensor([[[0.6, 0.8]], [[0.0, 0.0]]], dtype=torch.bfloat16))


@pytest.mark.parametrize("layout", [*FAMILIES, "packed"])
def test_segments_are_those_of_the_hidden_states(layout: str) -> None:
    """Other tokens in one example change hidden states where it owns the place, and nowhere else."""
    family = "bert" if layout == "packed" else layout
    model, batch = still(tiny(family)), unequal(family=family)
    if layout == "packed":
        attach_packing(model)
    now = CurrentSegments(model)
    model.register_forward_pre_hook(now.watch, with_kwargs=True)

    def entering(changed: int | None) -> Tensor:
        ids = batch["input_ids"].clone()
        if changed is not None:
            ids[changed] = ids[changed] % 50 + 10  # another token everywhere
            assert (ids[changed] != batch["input_ids"][changed]).all()
        inputs: dict[str, Any] = batch | {"input_ids": ids}
        inputs = packed(inputs) if layout == "packed" else inputs
        kept: list[Tensor] = []
        handle = encoder_layers(model)[0].register_forward_pre_hook(lambda _, args: kept.append(args[0].detach()))
        model(**{name: value for name, value in inputs.items() if name != "labels"})
        handle.remove()
        return kept[0]

    plain = entering(None)
    segments = now(plain)
    assert plain.shape[:2] == segments.ids.shape
    for example in range(len(LENGTHS)):
        differs = (entering(example) != plain).any(-1)
        assert torch.equal(differs & segments.mask, (segments.ids == example) & segments.mask)
        assert not differs[segments.ids != example].any()


def test_current_segments_are_those_of_the_last_forward_pass() -> None:
    """Inputs by name or by position; before the first pass there are none."""
    model = tiny("bert")
    now = CurrentSegments(model)
    with pytest.raises(AssertionError, match="outside of a forward pass"):
        now(torch.zeros(3, 5, 1))
    model.register_forward_pre_hook(now.watch, with_kwargs=True)
    batch = unequal()
    hidden = torch.zeros(*batch["input_ids"].shape, 1)
    model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    assert now(hidden).lengths.tolist() == list(LENGTHS)
    model(batch["input_ids"][:2], attention_mask=batch["attention_mask"][:2])
    assert now(hidden[:2]).lengths.tolist() == list(LENGTHS[:2])
    assert not now.length_first
    assert CurrentSegments(tiny("xlnet")).length_first


def test_what_longformer_pads_to_its_window_is_padding() -> None:
    """Seven tokens become eight; the segments of hidden states follow, those of the input stay."""
    model, ids = architecture("longformer").eval(), torch.arange(5, 19).view(2, 7)
    now, kept = CurrentSegments(model), list[Tensor]()
    model.register_forward_pre_hook(now.watch, with_kwargs=True)
    encoder_layers(model)[0].register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    segments = now(kept[0])
    assert segments.mask.tolist() == [[True] * 7 + [False]] * 2
    assert segments.ids.tolist() == [[0] * 8, [1] * 8]
    assert segments.lengths.tolist() == [7, 7]
    assert (segments.padded_length, segments.norms(kept[0]).shape) == (7, (2,))
