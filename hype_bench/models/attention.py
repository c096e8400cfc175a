"""Attention within each sequence of a packed row.

One sequence after the other on a CPU; on a GPU one padded batch (``models.padded_attention``).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from hype_bench.models.dropout import keep_mask


@dataclass(frozen=True)
class Packing:
    """Where the sequences of a packed row lie.

    cu_seqlens: cumulative sequence lengths, from 0 to the number of tokens.
    lengths: tokens of each example.
    filler: tokens behind the examples that belong to none, a sequence of their own (``training.graphs``).
    longest: no sequence has more tokens.
    queries: of each sequence, as in the top layer (see ``models.packing``); 0: one for each of its tokens.
    """

    cu_seqlens: Int[Tensor, " bounds"]
    lengths: list[int]
    longest: int
    filler: int = 0
    queries: int = 0
    _biases: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)  # of all layers

    @classmethod
    def of(cls, lengths: list[int], filler: int = 0, longest: int = 0) -> Packing:
        """Sequences of these lengths, each at least 1, one behind the other."""
        sizes = torch.tensor([*lengths, filler] if filler else lengths)
        bounds = F.pad(sizes.cumsum(0), (1, 0)).int()
        return cls(bounds, lengths, max(longest, filler, *lengths), filler)

    def to(self, device: torch.device) -> Packing:
        return replace(self, cu_seqlens=self.cu_seqlens.to(device))

    @property
    def sequences(self) -> int:
        """The examples, and the filler if there is one."""
        return len(self.cu_seqlens) - 1

    @property
    def starts(self) -> Int[Tensor, " sequences"]:
        """The row's index of each sequence's first token."""
        return self.cu_seqlens[:-1]

    @cached_property
    def segment_ids(self) -> Int[Tensor, " tokens"]:
        """The index of each token's sequence."""
        sequences = torch.arange(self.sequences, device=self.cu_seqlens.device)
        return sequences.repeat_interleave(self.cu_seqlens.diff(), output_size=sum(self.lengths) + self.filler)

    @cached_property
    def mask(self) -> Bool[Tensor, "sequences longest"]:
        """True at the tokens of the padded batch."""
        return torch.arange(self.padded_length, device=self.cu_seqlens.device) < self.cu_seqlens.diff()[:, None]

    @cached_property
    def slots(self) -> Int[Tensor, " tokens"]:
        """The index of each token in the flattened padded batch."""
        tokens = torch.arange(len(self.segment_ids), device=self.cu_seqlens.device)
        return self.segment_ids * self.padded_length + tokens - self.starts[self.segment_ids]

    @cached_property
    def sources(self) -> Int[Tensor, "sequences longest"]:
        """The row's index of the token at each position of the padded batch: of its sequence's last one at padding."""
        positions = torch.arange(self.padded_length, device=self.cu_seqlens.device)
        return self.starts[:, None] + torch.minimum(positions, self.cu_seqlens.diff()[:, None] - 1)

    @property
    def padded_length(self) -> int:
        """Tokens of each sequence of the padded batch: kernels take masks by eights."""
        return -(-self.longest // 8) * 8

    def bias(self, query: Float[Tensor, "sequences queries heads width"], window: int | None) -> Tensor:
        """0 where a query of the padded batch attends to a key, else minus infinity: (sequences, heads, queries, keys).

        Args:
            window: tokens this far apart, or further, do not attend to each other.
        """
        key = (query.dtype, query.shape, window)
        if key not in self._biases:
            seen = self.mask[:, None, None, :]
            if (hidden := _out_of_window(self.padded_length, window, query.device)) is not None:
                seen = seen & (~hidden | ~self.mask[:, None, :, None])  # padding attends to all, or to nothing
            zero = torch.zeros((), dtype=query.dtype, device=query.device)
            bias = torch.where(seen, zero, -torch.inf)
            self._biases[key] = bias.expand(-1, query.shape[2], query.shape[1], -1)
        return self._biases[key]

    @property
    def query_lengths(self) -> list[int]:
        """Queries of each sequence."""
        return [self.queries] * len(self.lengths) if self.queries else self.lengths


def attend_each(
    query: Float[Tensor, "heads queries width"],
    key: Float[Tensor, "heads tokens width"],
    value: Float[Tensor, "heads tokens width"],
    packing: Packing,
    dropout: float,
    scaling: float,
    window: int | None = None,
) -> Float[Tensor, "heads queries width"]:
    """For a CPU: no padding and no copy of the inputs; the masks of all sequences are drawn at once.

    Batches of sequences of similar length, padded, took 1.1 to 3.7 times as long (MiniLM, two threads, RTE to CoLA).

    Args:
        dropout: on the attention probabilities.
        window: tokens this far apart, or further, do not attend to each other (local attention).
    """
    exact = torch.promote_types(query.dtype, torch.float32)  # products this small are no faster in half precision
    operands = (x.to(exact) for x in (query, key, value))
    attended: Tensor = _Attention.apply(*operands, packing, dropout, scaling, window)  # type: ignore[no-untyped-call]
    return attended.to(query.dtype)


class _Attention(torch.autograd.Function):
    """softmax(scaling q k^T) v of every sequence, with dropout on the probabilities."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        packing: Packing,
        dropout: float,
        scaling: float,
        window: int | None,
    ) -> Tensor:
        hidden = _out_of_window(max(packing.lengths), window, query.device)
        query_lengths, lengths = packing.query_lengths, packing.lengths
        keep = keep_mask(query, (len(query) * sum(map(operator.mul, query_lengths, lengths)),), dropout)
        scaled, output = query * scaling, torch.empty_like(query)
        weights, kept = list[Tensor](), list[Tensor]()
        rows = (
            scaled.split(query_lengths, 1),
            key.mT.split(lengths, 2),
            value.split(lengths, 1),
            output.split(query_lengths, 1),
        )
        with torch.autocast(query.device.type, enabled=False):
            for q, k, v, out, mask in zip(*rows, _mask_of_each(keep, len(query), query_lengths, lengths), strict=True):
                scores = torch.bmm(q, k)
                if hidden is not None:
                    scores.masked_fill_(hidden[: k.shape[-1], : k.shape[-1]], -torch.inf)
                weights.append(scores.softmax(-1))
                kept.append(weights[-1] if mask is None else weights[-1] * mask)
                out.copy_(torch.bmm(kept[-1], v))
        ctx.save_for_backward(scaled, key, value, keep, *weights, *kept)
        ctx.query_lengths, ctx.lengths, ctx.scaling = query_lengths, lengths, scaling
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled, key, value, keep, *saved = ctx.saved_tensors
        query_lengths, lengths, count = ctx.query_lengths, ctx.lengths, len(ctx.lengths)
        gradients = [torch.empty_like(x) for x in (scaled, key, value)]
        of_queries = (x.split(query_lengths, 1) for x in (upstream, scaled, gradients[0]))
        of_keys = (key.split(lengths, 1), value.mT.split(lengths, 2), *(x.split(lengths, 1) for x in gradients[1:]))
        masks = _mask_of_each(keep, len(scaled), query_lengths, lengths)
        rows = zip(*of_queries, *of_keys, saved[:count], saved[count:], masks, strict=True)
        with torch.autocast(upstream.device.type, enabled=False):  # SMART's inner gradient is taken within one
            for up, q, dq, k, v, dk, dv, weight, kept, mask in rows:
                dv.copy_(torch.bmm(kept.mT, up))
                dkept = torch.bmm(up, v)
                dweight = dkept if mask is None else dkept.mul_(mask)
                dscore = torch._softmax_backward_data(dweight, weight, -1, weight.dtype)
                dq.copy_(torch.bmm(dscore, k))
                dk.copy_(torch.bmm(dscore.mT, q))
        gradients[0] *= ctx.scaling
        return (*gradients, None, None, None, None)


def _out_of_window(longest: int, window: int | None, device: torch.device) -> Bool[Tensor, "longest longest"] | None:
    """Which pairs of tokens do not attend to each other; None if all do."""
    if window is None or longest <= window:
        return None
    positions = torch.arange(longest, device=device)
    return (positions[:, None] - positions).abs() >= window


def _mask_of_each(
    keep: Float[Tensor, " entries"] | None, heads: int, query_lengths: list[int], lengths: list[int]
) -> list[Tensor | None]:
    """One flat mask as the (heads, queries, tokens) of every sequence."""
    if keep is None:
        return [None] * len(lengths)
    pieces = keep.split([heads * queries * length for queries, length in zip(query_lengths, lengths, strict=True)])
    return [piece.view(heads, -1, length) for piece, length in zip(pieces, lengths, strict=True)]
