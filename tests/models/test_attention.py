"""Attention within the sequences of a packed row, against a loop over rows written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.models.attention import Packing, attend_each
from hype_bench.models.dropout import keep_mask
from hype_bench.models.padded_attention import attend_padded

LENGTHS = [3, 1, 7, 2, 7]
HEADS, WIDTH, SCALING = 2, 5, 0.4


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value as an encoder gives them: views of (tokens, heads, width)."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(sum(LENGTHS), HEADS, WIDTH, dtype=dtype).transpose(0, 1) for _ in range(3))
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


def written_out(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
    """Token by token; ``keep`` as it is drawn: sequence by sequence, head by head, row by row."""
    rows, drawn, start = [], 0, 0
    for length in LENGTHS:
        for head in range(HEADS):
            for i in range(start, start + length):
                score = torch.stack([SCALING * (q[head, i] * k[head, j]).sum() for j in range(start, start + length)])
                weight = score.exp() / score.exp().sum()
                if keep is not None:
                    weight = weight * keep[drawn : drawn + length]
                drawn += length
                rows.append(sum(w * v[head, start + j] for j, w in enumerate(weight)))
        start += length
    output, numbers = torch.empty_like(q), iter(rows)
    start = 0
    for length in LENGTHS:
        for head in range(HEADS):
            for i in range(start, start + length):
                output[head, i] = next(numbers)
        start += length
    return output


def gradients(output: Tensor, qkv: Sequence[Tensor]) -> list[Tensor]:
    upstream = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).view(output.shape)
    return list(torch.autograd.grad(output, qkv, upstream))


@pytest.mark.parametrize("attend", [attend_each, attend_padded])
def test_output_and_gradients(attend: Callable[..., Tensor]) -> None:
    qkv = inputs()
    output, expected = attend(*qkv, Packing.of(LENGTHS), 0.0, SCALING), written_out(*qkv)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    for gradient, wanted in zip(gradients(output, qkv), gradients(expected, qkv), strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_on_the_probabilities(p: float) -> None:
    qkv = inputs()
    torch.manual_seed(7)
    output = attend_each(*qkv, Packing.of(LENGTHS), p, SCALING)
    torch.manual_seed(7)
    keep = keep_mask(qkv[0], (HEADS * sum(n * n for n in LENGTHS),), p)
    expected = written_out(*qkv, keep)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    for gradient, wanted in zip(gradients(output, qkv), gradients(expected, qkv), strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-12, rtol=0)


def test_bfloat16_under_autocast() -> None:
    """As in a run with ``training.precision=bf16``: finite, of that type, and close to the exact result."""
    exact, rough = inputs(torch.float32), inputs(torch.float32)
    expected = attend_each(*exact, Packing.of(LENGTHS), 0.0, SCALING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q, k, v = (x.bfloat16() for x in rough)
        output = attend_each(q, k, v, Packing.of(LENGTHS), 0.0, SCALING)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.03, rtol=0.03)
    for gradient, wanted in zip(gradients(output, rough), gradients(expected, exact), strict=True):
        torch.testing.assert_close(gradient, wanted, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("attend", [attend_each, attend_padded])
def test_where_only_first_tokens_ask(attend: Any) -> None:
    """The rows of first tokens, and the gradients that they alone send back."""
    q, k, v = inputs()
    packing = replace(Packing.of(LENGTHS), queries=1)
    output = attend(q[:, packing.starts], k, v, packing, 0.0, SCALING)
    expected = written_out(q, k, v)[:, packing.starts]
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    for gradient, wanted in zip(gradients(output, [q, k, v]), gradients(expected, [q, k, v]), strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-12, rtol=0)


def test_dropout_where_only_first_tokens_ask() -> None:
    """Every mask gives another output; their mean is the output without dropout."""
    q, k, v = inputs()
    packing = replace(Packing.of(LENGTHS), queries=1)
    torch.manual_seed(7)
    draws = torch.stack([attend_each(q[:, packing.starts], k, v, packing, 0.25, SCALING).detach() for _ in range(4000)])
    exact = attend_each(q[:, packing.starts], k, v, packing, 0.0, SCALING)
    assert (draws.std(0) > 0.01).all()
    torch.testing.assert_close(draws.mean(0), exact, atol=5 * float(draws.std(0).max()) / 4000**0.5, rtol=0)


def test_packing_of_a_row() -> None:
    packing = Packing.of([3, 1, 2])
    assert packing.starts.tolist() == [0, 3, 4]
    assert packing.query_lengths == packing.lengths == [3, 1, 2]
    assert replace(packing, queries=1).to(torch.device("cpu")).query_lengths == [1, 1, 1]
    assert packing.padded_length == 8
    assert packing.mask[:, :3].tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert not packing.mask[:, 3:].any()
    assert packing.slots.tolist() == [0, 1, 2, 8, 16, 17]
    assert packing.sources[:, :3].tolist() == [[0, 1, 2], [3, 3, 3], [4, 5, 5]]


def test_a_filler_is_a_sequence_of_no_example() -> None:
    packing = Packing.of([3, 1], filler=12, longest=10)
    assert packing.lengths == [3, 1]
    assert packing.cu_seqlens.tolist() == [0, 3, 4, 16]
    assert (packing.sequences, packing.longest) == (3, 12)
    assert packing.segment_ids.tolist() == [0, 0, 0, 1] + [2] * 12
