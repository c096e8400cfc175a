"""The hidden state of the token that the head reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel


def read_by_head(model: PreTrainedModel, hidden: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """(examples, width): of each example's first token; XLNet's head reads the last one.

    Args:
        hidden: what a layer takes or puts out for every token: (batch, length, width), of a packed row
            (1, tokens, width), XLNet's (length, batch, width).
        batch: keyword arguments of the forward call.
    """
    if (packing := batch.get("packing")) is not None:
        return hidden[0].index_select(0, packing.starts)
    return hidden[-1] if model.config.model_type == "xlnet" else hidden[:, 0]
