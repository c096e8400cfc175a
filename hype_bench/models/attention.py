"""Attention within each sequence of a packed row: one sequence after the other on a CPU, one padded batch on a GPU."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
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
    queries: how many every sequence has, as in the top layer (see ``models.packing``); 0: one for each of its tokens.
    """

    starts: Tensor
    lengths: list[int]
    inside: Tensor
    queries: int = 0

    @classmethod
    def of(cls, lengths: list[int]) -> Layout:
        """Sequences of these lengths, each at least 1, one behind the other."""
        sizes = torch.tensor(lengths)
        return cls(sizes.cumsum(0) - sizes, lengths, torch.arange(max(lengths))[None] < sizes[:, None])

    def to(self, device: torch.device) -> Layout:
        return replace(self, starts=self.starts.to(device), inside=self.inside.to(device))

    @property
    def asking(self) -> list[int]:
        """Queries of each sequence."""
        return [self.queries] * len(self.lengths) if self.queries else self.lengths


def attend_each(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, dropout: float, scaling: float, window: int | None = None
) -> Tensor:
    """For a CPU: no padding and no copy of the inputs; the masks of all sequences are drawn at once.

    Batches of sequences of similar length, padded, took 1.1 to 3.7 times as long (MiniLM, two threads, RTE to CoLA).

    Args:
        query: (heads, queries, head width).
        key, value: (heads, tokens, head width).
        dropout: on the attention probabilities.
        window: tokens so many places apart, or more, do not see each other (local attention).

    Returns:
        (heads, queries, head width).
    """
    attended: Tensor = _Attention.apply(query, key, value, layout, dropout, scaling, window)  # type: ignore[no-untyped-call]
    return attended


def attend_padded(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, dropout: float, scaling: float, window: int | None = None
) -> Tensor:
    """For a GPU, which would rather pad than be called often: the same as :func:`attend_each`."""
    batch, longest = layout.inside.shape
    slots = layout.inside.flatten().nonzero().flatten()

    def pad(x: Tensor) -> Tensor:
        padded = x.new_zeros(len(x), batch * longest, x.shape[-1]).index_copy(1, slots, x)
        return padded.view(len(x), batch, longest, x.shape[-1]).transpose(0, 1)

    q = query.unflatten(1, (batch, -1)).transpose(0, 1) if layout.queries else pad(query)
    k, v, mask = pad(key), pad(value), layout.inside[:, None, None, :]
    if (far := _far(longest, window, query.device)) is not None:
        padding = ~layout.inside[:, None, :, None]  # attends to all, or its softmax would have nothing to add up
        mask = mask & (~far | padding)
    attended = F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scaling)
    rows: Tensor = attended.transpose(0, 1).flatten(1, 2)
    return rows if layout.queries else rows.index_select(1, slots)


class _Attention(torch.autograd.Function):
    """softmax(scaling q k^T) v of every sequence, with dropout on the probabilities."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: Layout,
        dropout: float,
        scaling: float,
        window: int | None,
    ) -> Tensor:
        exact = torch.promote_types(query.dtype, torch.float32)
        far = _far(max(layout.lengths), window, query.device)
        asking, lengths = layout.asking, layout.lengths
        keep = keep_mask(query, (len(query) * sum(map(operator.mul, asking, lengths)),), dropout)
        scaled, output = query * scaling, torch.empty_like(query)
        weights, kept = list[Tensor](), list[Tensor]()
        rows = (scaled.split(asking, 1), key.mT.split(lengths, 2), value.split(lengths, 1), output.split(asking, 1))
        with torch.autocast(query.device.type, enabled=False):
            for q, k, v, out, mask in zip(*rows, _cut(keep, len(query), asking, lengths), strict=True):
                scores = torch.bmm(q, k)
                if far is not None:
                    scores.masked_fill_(far[: k.shape[-1], : k.shape[-1]], -torch.inf)
                weights.append(scores.softmax(-1, dtype=exact).to(q.dtype))
                kept.append(weights[-1] if mask is None else weights[-1] * mask)
                out.copy_(torch.bmm(kept[-1], v))
        ctx.save_for_backward(scaled, key, value, keep, *weights, *kept)
        ctx.asking, ctx.lengths, ctx.scaling = asking, lengths, scaling
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled, key, value, keep, *saved = ctx.saved_tensors
        asking, lengths, count = ctx.asking, ctx.lengths, len(ctx.lengths)
        gradients = [torch.empty_like(x) for x in (scaled, key, value)]
        askers = (x.split(asking, 1) for x in (upstream, scaled, gradients[0]))
        asked = (key.split(lengths, 1), value.mT.split(lengths, 2), *(x.split(lengths, 1) for x in gradients[1:]))
        masks = _cut(keep, len(scaled), asking, lengths)
        rows = zip(*askers, *asked, saved[:count], saved[count:], masks, strict=True)
        for up, q, dq, k, v, dk, dv, weight, kept, mask in rows:
            dv.copy_(torch.bmm(kept.mT, up))
            dkept = torch.bmm(up, v)
            dweight = dkept if mask is None else dkept.mul_(mask)
            dscore = torch._softmax_backward_data(dweight, weight, -1, weight.dtype)
            dq.copy_(torch.bmm(dscore, k))
            dk.copy_(torch.bmm(dscore.mT, q))
        gradients[0] *= ctx.scaling
        return (*gradients, None, None, None, None)


def _far(longest: int, window: int | None, device: torch.device) -> Tensor | None:
    """(longest, longest): which pairs of tokens do not see each other; None if all do."""
    if window is None or longest <= window:
        return None
    places = torch.arange(longest, device=device)
    return (places[:, None] - places).abs() >= window


def _cut(keep: Tensor | None, heads: int, asking: list[int], lengths: list[int]) -> list[Tensor | None]:
    """One flat mask as the (heads, queries, tokens) of every sequence."""
    if keep is None:
        return [None] * len(lengths)
    pieces = keep.split([heads * queries * length for queries, length in zip(asking, lengths, strict=True)])
    return [piece.view(heads, -1, length) for piece, length in zip(pieces, lengths, strict=True)]
