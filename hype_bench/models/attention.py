"""Attention within each sequence of a packed row: one sequence after the other on a CPU, one padded batch on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hype_bench.models.dropout import keep_mask


@dataclass(frozen=True)
class Layout:
    """Where the sequences of a packed row lie.

    starts: the row's index of each sequence's first token, (batch,).
    lengths: tokens of each sequence.
    inside: which places of the padded batch hold a token, (batch, longest).
    """

    starts: Tensor
    lengths: list[int]
    inside: Tensor

    @classmethod
    def of(cls, lengths: list[int]) -> Layout:
        """Sequences of these lengths, each at least 1, one behind the other."""
        sizes = torch.tensor(lengths)
        return cls(sizes.cumsum(0) - sizes, lengths, torch.arange(max(lengths))[None] < sizes[:, None])

    def to(self, device: torch.device) -> Layout:
        return Layout(self.starts.to(device), self.lengths, self.inside.to(device))


def attend_each(query: Tensor, key: Tensor, value: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    """For a CPU: no padding and no copy of the inputs; the masks of all sequences are drawn at once.

    Batches of sequences of similar length, padded, took 1.1 to 3.7 times as long (MiniLM, two threads, RTE to CoLA).

    Args:
        query, key, value: (heads, tokens, head width).
        dropout: on the attention probabilities.

    Returns:
        (heads, tokens, head width).
    """
    attended: Tensor = _Attention.apply(query, key, value, layout.lengths, dropout, scaling)  # type: ignore[no-untyped-call]
    return attended


def attend_padded(query: Tensor, key: Tensor, value: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    """For a GPU, which would rather pad than be called often: the same as :func:`attend_each`."""
    batch, longest = layout.inside.shape
    slots = layout.inside.flatten().nonzero().flatten()

    def pad(x: Tensor) -> Tensor:
        padded = x.new_zeros(len(x), batch * longest, x.shape[-1]).index_copy(1, slots, x)
        return padded.view(len(x), batch, longest, x.shape[-1]).transpose(0, 1)

    q, k, v, mask = pad(query), pad(key), pad(value), layout.inside[:, None, None, :]
    attended = F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scaling)
    rows: Tensor = attended.transpose(0, 1).flatten(1, 2)
    return rows.index_select(1, slots)


class _Attention(torch.autograd.Function):
    """softmax(scaling q k^T) v of every sequence, with dropout on the probabilities."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int], dropout: float, scaling: float
    ) -> Tensor:
        exact = torch.promote_types(query.dtype, torch.float32)
        keep = keep_mask(query, (len(query) * sum(length**2 for length in lengths),), dropout)
        scaled, output, weights = query * scaling, torch.empty_like(query), []
        rows = (x.split(lengths, 1) for x in (scaled, key, value, output))
        with torch.autocast(query.device.type, enabled=False):
            for q, k, v, out, mask in zip(*rows, _cut(keep, len(query), lengths), strict=True):
                weight = torch.bmm(q, k.transpose(1, 2)).softmax(-1, dtype=exact).to(q.dtype)
                out.copy_(torch.bmm(_masked(weight, mask), v))
                weights.append(weight)
        ctx.save_for_backward(scaled, key, value, keep, *weights)
        ctx.lengths, ctx.scaling = lengths, scaling
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled, key, value, keep, *weights = ctx.saved_tensors
        gradients = [torch.empty_like(x) for x in (scaled, key, value)]
        rows = (x.split(ctx.lengths, 1) for x in (upstream, scaled, key, value, *gradients))
        masks = _cut(keep, len(scaled), ctx.lengths)
        for up, q, k, v, dq, dk, dv, weight, mask in zip(*rows, weights, masks, strict=True):
            dv.copy_(torch.bmm(_masked(weight, mask).transpose(1, 2), up))
            dweight = _masked(torch.bmm(up, v.transpose(1, 2)), mask)
            dscore = torch._softmax_backward_data(dweight, weight, -1, weight.dtype)
            dq.copy_(torch.bmm(dscore, k))
            dk.copy_(torch.bmm(dscore.transpose(1, 2), q))
        gradients[0] *= ctx.scaling
        return (*gradients, None, None, None)


def _cut(keep: Tensor | None, heads: int, lengths: list[int]) -> list[Tensor | None]:
    """One flat mask as the (heads, length, length) of every sequence."""
    if keep is None:
        return [None] * len(lengths)
    pieces = keep.split([heads * length**2 for length in lengths])
    return [piece.view(heads, length, length) for piece, length in zip(pieces, lengths, strict=True)]


def _masked(weight: Tensor, mask: Tensor | None) -> Tensor:
    return weight if mask is None else weight * mask
