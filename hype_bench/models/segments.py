"""Which example each position of a hidden tensor belongs to, whether the batch is packed into a row or padded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.options import UserError


@dataclass(frozen=True)
class Segments:
    """Positions are the first two dimensions of hidden states: (batch, length), packed (1, tokens), or XLNet's
    (length, batch).

    ids: the index of the example at each position.
    mask: True at tokens, False at padding.
    examples: how many there are.
    padded_length: tokens of the longest example, or of the padded batch.
    packed: whether there is no padding.
    """

    ids: Int[Tensor, "*positions"]
    mask: Bool[Tensor, "*positions"]
    examples: int
    padded_length: int
    packed: bool = False

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any], length_first: bool = False) -> Segments:
        """From the keyword arguments of a forward call; ``length_first`` for hidden states as XLNet has them.

        Of multiple choice, (batch, choices, length), every choice is an example.

        Raises:
            UserError: there are no ids of tokens, as with pictures or embeddings.
        """
        if (ids := inputs.get("input_ids")) is None:
            raise UserError("a technique here acts on tokens, and this batch has no input_ids")
        ids = ids.flatten(0, -2)
        if (packing := inputs.get("packing")) is not None:
            assert not packing.filler, "a technique that reads segments cannot be captured"
            every = torch.ones_like(ids, dtype=torch.bool)
            return cls(packing.segment_ids[None], every, packing.sequences, packing.longest, packed=True)
        mask = inputs.get("attention_mask")
        mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.flatten(0, -2).bool()
        segment_ids = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
        if length_first:
            segment_ids, mask = segment_ids.t(), mask.t()
        return cls(segment_ids, mask, *ids.shape)

    def for_hidden(self, hidden: Float[Tensor, "*positions width"]) -> Segments:
        """Those of ``hidden``: Longformer pads a batch once more, on the right, to a multiple of its window."""
        extra = hidden.shape[1] - self.mask.shape[1]
        if extra == 0:
            return self
        ids = torch.cat([self.ids, self.ids[:, -1:].expand(-1, extra)], 1)
        return replace(self, ids=ids, mask=F.pad(self.mask, (0, extra)))

    @property
    def real(self) -> Bool[Tensor, "*positions"] | None:
        """The mask if there is padding: for what an index by a mask picks, the host would wait for a GPU."""
        return None if self.packed else self.mask

    @property
    def lengths(self) -> Int[Tensor, " examples"]:
        """Tokens of every example without padding."""
        return self._sum(self.mask.long())

    @property
    def ranks(self) -> Int[Tensor, "*positions"]:
        """The number of each token within its example, from 0; at padding that of the token before."""
        ids, lengths = self.ids.flatten(), self.lengths
        order = ids.argsort(stable=True)  # an example's tokens in time, in every layout
        counts = self.mask.flatten()[order].cumsum(0) - 1
        return (
            torch.empty_like(ids)
            .scatter(0, order, counts - (lengths.cumsum(0) - lengths)[ids[order]])
            .view_as(self.ids)
        )

    @property
    def first(self) -> Bool[Tensor, "*positions"]:
        """True at the first token of every example."""
        return self._extreme("amin", len(self.ids.flatten()))

    @property
    def last(self) -> Bool[Tensor, "*positions"]:
        """True at the last token of every example, padding left out."""
        return self._extreme("amax", -1)

    def norms(self, x: Float[Tensor, "*positions width"]) -> Float[Tensor, " examples"]:
        """The Frobenius norm of every example's part of ``x``."""
        return self._sum(x.square().sum(-1, dtype=torch.promote_types(x.dtype, torch.float32))).sqrt()

    def broadcast(self, values: Num[Tensor, " examples"]) -> Num[Tensor, "*positions 1"]:
        """Every example's value at its positions."""
        return values[self.ids].unsqueeze(-1)

    def _extreme(self, which: str, beyond: int) -> Bool[Tensor, "*positions"]:
        order = torch.arange(self.ids.numel(), device=self.ids.device)  # an example's tokens in time, in every layout
        real = torch.where(self.mask.flatten(), order, beyond)
        extremes = real.new_full((self.examples,), beyond).scatter_reduce(0, self.ids.flatten(), real, which)
        return (order == extremes[self.ids.flatten()]).view_as(self.ids)

    def _sum(self, values: Num[Tensor, "*positions"]) -> Num[Tensor, " examples"]:
        return values.new_zeros(self.examples).index_add(0, self.ids.flatten(), values.flatten())


class CurrentSegments:
    """The :class:`Segments` of the current forward pass; :meth:`watch` is a forward pre-hook of the model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.length_first = model.config.model_type == "xlnet"
        self.current: Segments | None = None

    def watch(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = {"input_ids": args[0], **kwargs} if args else kwargs
        self.current = Segments.from_inputs(inputs, self.length_first)

    def __call__(self, hidden: Float[Tensor, "*positions width"]) -> Segments:
        """Those of these hidden states."""
        assert self.current is not None, "called outside of a forward pass"
        return self.current.for_hidden(hidden)
