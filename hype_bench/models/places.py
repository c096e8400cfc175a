"""Which example each place of a hidden tensor belongs to, whether the batch is packed into a row or padded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.options import UserError


def check_every_token(model: PreTrainedModel) -> None:
    """Raises:
    UserError: the layers see fewer hidden states than there are tokens (CANINE pools characters).
    """
    if getattr(model.config, "downsampling_rate", 1) > 1:
        raise UserError(f"{model.config.model_type} has no hidden state for every token: its layers see them pooled")


@dataclass(frozen=True)
class Places:
    """The first two dimensions of hidden states: (batch, length), packed (1, tokens), or XLNet's (length, batch).

    owners: the index of the example at each place.
    real: False where there is padding.
    examples: how many there are.
    padded_length: tokens of the longest example, or of the padded batch.
    """

    owners: Tensor
    real: Tensor
    examples: int
    padded_length: int

    @classmethod
    def of(cls, inputs: Mapping[str, Any], length_first: bool = False) -> Places:
        """From the keyword arguments of a forward call; ``length_first`` for hidden states as XLNet has them."""
        ids = inputs["input_ids"]
        if (packing := inputs.get("packing")) is not None:
            lengths = torch.tensor(packing.lengths, device=ids.device)
            owners = torch.arange(len(lengths), device=ids.device).repeat_interleave(lengths)[None]
            return cls(owners, torch.ones_like(owners, dtype=torch.bool), len(lengths), max(packing.lengths))
        mask = inputs.get("attention_mask")
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        owners = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
        if length_first:
            owners, real = owners.t(), real.t()
        return cls(owners, real, *ids.shape)

    def of_hidden(self, hidden: Tensor) -> Places:
        """As ``hidden`` has them: Longformer pads a batch once more, on the right, to a multiple of its window."""
        extra = hidden.shape[1] - self.real.shape[1]
        if extra == 0:
            return self
        owners = torch.cat([self.owners, self.owners[:, -1:].expand(-1, extra)], 1)
        return replace(self, owners=owners, real=F.pad(self.real, (0, extra)))

    @property
    def lengths(self) -> Tensor:
        """Real tokens of every example, (examples,), whole numbers."""
        return self._sum(self.real.long())

    def norms(self, x: Tensor) -> Tensor:
        """The Frobenius norm of every example's part of ``x``, (examples,)."""
        return self._sum(x.square().sum(-1, dtype=torch.promote_types(x.dtype, torch.float32))).sqrt()

    def spread(self, values: Tensor) -> Tensor:
        """(examples,) -> one value a place, with a last dimension of 1."""
        return values[self.owners].unsqueeze(-1)

    def _sum(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.examples).index_add(0, self.owners.flatten(), values.flatten())


class PlacesNow:
    """The :class:`Places` of the forward pass that is on; :meth:`watch` is a forward pre-hook of the model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.length_first = model.config.model_type == "xlnet"
        self.now: Places | None = None

    def watch(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = {"input_ids": args[0], **kwargs} if args else kwargs
        self.now = Places.of(inputs, self.length_first)

    def __call__(self, hidden: Tensor) -> Places:
        """Of these hidden states."""
        assert self.now is not None, "no forward pass is on"
        return self.now.of_hidden(hidden)
