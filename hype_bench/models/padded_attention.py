"""Attention on a GPU, the same bit for bit each time; of a packed row as one padded batch, without waiting for it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hype_bench.models.attention import Packing

_NO_MASK = 0  # of the masks that the kernel knows


def attend_padded(
    query: Float[Tensor, "heads queries width"],
    key: Float[Tensor, "heads tokens width"],
    value: Float[Tensor, "heads tokens width"],
    packing: Packing,
    dropout: float,
    scaling: float,
    window: int | None = None,
) -> Float[Tensor, "heads queries width"]:
    """For a GPU, where padding costs less than many small calls: the same as :func:`attend_each`, without a wait."""
    shape = (packing.sequences, packing.queries or packing.padded_length)
    q = query.transpose(0, 1).unflatten(0, shape) if packing.queries else _Pad.apply(query, packing)  # type: ignore[no-untyped-call]
    k, v = (_Pad.apply(rows, packing) for rows in (key, value))  # type: ignore[no-untyped-call]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    attended = attend_batch(q, k, v, packing.bias(q.transpose(1, 2), window), dropout, scaling).transpose(1, 2)
    rows: Tensor = attended.flatten(0, 1).transpose(0, 1) if packing.queries else _Unpad.apply(attended, packing)  # type: ignore[no-untyped-call]
    return rows


def attend_batch(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch groups tokens width"],
    value: Float[Tensor, "batch groups tokens width"],
    mask: Tensor | None,
    dropout: float,
    scaling: float | None = None,
) -> Float[Tensor, "batch heads queries width"]:
    """Torch's scaled dot-product attention; on a GPU with a backward pass that sums in one order.

    Args:
        mask: of the tokens, broadcast to (batch, heads, queries, tokens): True where they are seen, or what is added to
            the scores.
    """
    copies = query.shape[1] // key.shape[1]
    if query.device.type != "cuda":
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling, enable_gqa=copies > 1)
    if copies > 1:
        key, value = (x.repeat_interleave(copies, 1) for x in (key, value))
    bias = None if mask is None else _as_bias(mask, query).expand(*query.shape[:3], -1)
    rows = (x.transpose(1, 2) for x in (query, key, value))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended: Tensor = _CudaAttention.apply(*rows, bias, dropout, scaling)  # type: ignore[no-untyped-call]
    return attended.transpose(1, 2)


def _as_bias(mask: Tensor, query: Tensor) -> Tensor:
    """What the kernel adds to the scores; it takes rows that begin at multiples of eight entries."""
    if mask.dtype == torch.bool:
        mask = torch.where(mask, torch.zeros((), dtype=query.dtype, device=query.device), -torch.inf)
    tokens = mask.shape[-1]
    mask = mask.to(query.dtype)
    return F.pad(mask, (0, -tokens % 8))[..., :tokens] if tokens % 8 else mask


class _Pad(torch.autograd.Function):
    """(heads, tokens, width) -> (sequences, padded length, heads, width); padding repeats a sequence's last token.

    Padding gets no gradient from attention, so both directions pick rows, and nothing is summed in some order.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return _padded(rows, packing)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _unpadded(upstream, ctx.packing), None


class _Unpad(torch.autograd.Function):
    """The way back."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return _unpadded(padded, packing)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _padded(upstream, ctx.packing) * ctx.packing.mask[:, :, None, None], None


def _padded(rows: Tensor, packing: Packing) -> Tensor:
    padded: Tensor = rows.transpose(0, 1).index_select(0, packing.sources.flatten())
    batch: Tensor = padded.unflatten(0, packing.sources.shape)
    return batch


def _unpadded(padded: Tensor, packing: Packing) -> Tensor:
    rows: Tensor = padded.flatten(0, 1).index_select(0, packing.slots).transpose(0, 1)
    return rows


class _CudaAttention(torch.autograd.Function):
    """Scaled dot-product attention of (batch, length, heads, width) by the memory-efficient kernel.

    Torch's own backward pass may split the keys and sum the parts in any order; here a run repeats bit for bit. The
    kernel takes packed rows too, but (torch 2.11) with one dropout mask for all heads and sequences, and another one
    in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float, scaling: float
    ) -> Tensor:
        inputs = (query, key, value)
        output, *kept = torch.ops.aten._scaled_dot_product_efficient_attention(
            *(x.transpose(1, 2) for x in inputs), bias, True, dropout, scale=scaling
        )
        attended: Tensor = output.transpose(1, 2)
        ctx.save_for_backward(*inputs, bias, attended, *kept)
        ctx.dropout, ctx.scaling = dropout, scaling
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, bias, attended, log_sums, seed, offset = ctx.saved_tensors
        lengths, drawn = (inputs[0].shape[1], inputs[1].shape[1]), (ctx.dropout, seed, offset)
        gradients = torch.ops.aten._efficient_attention_backward(
            upstream.contiguous(), *inputs, bias, attended, None, None, *lengths, log_sums, *drawn, _NO_MASK, False,
            scale=ctx.scaling, num_splits_key=1,
        )  # fmt: skip
        return (*gradients[:3], None, None, None)
