"""A packed row as the padded batch that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.models.attention import Packing

_BY_TOKEN = ("input_ids", "position_ids", "token_type_ids")


def as_padded(batch: Mapping[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    """The batch padded on the right, with an attention mask; one that is padded already stays as it is.

    Args:
        batch: keyword arguments of the model's forward call.
    """
    packing: Packing | None = batch.get("packing")
    if packing is None:
        return dict(batch)
    others = {name: value for name, value in batch.items() if name not in (*_BY_TOKEN, "packing")}
    padded = {"input_ids": _padded(batch["input_ids"], packing, model.config.pad_token_id or 0)}
    if "token_type_ids" in batch:
        padded["token_type_ids"] = _padded(batch["token_type_ids"], packing, 0)
    return others | padded | {"attention_mask": packing.mask[:, : max(packing.lengths)].long()}


def _padded(row: Tensor, packing: Packing, padding: int) -> Tensor:
    longest = max(packing.lengths)  # packing.mask may have room for more
    return row[0][packing.sources[:, :longest]].masked_fill(~packing.mask[:, :longest], padding)
