"""How many positions and token types a model has."""

from __future__ import annotations

import inspect

from torch import nn
from transformers import PreTrainedModel


def positions(model: PreTrainedModel) -> int | None:
    """How many tokens a text may have; None where positions are relative, without a table of absolute ones.

    RoBERTa and its relatives count from one past the padding index: their table has two rows more than can be used.
    """
    usable = [
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.base_model.named_modules()
        if isinstance(module, nn.Embedding) and ("position" in name.rpartition(".")[2] or name == "wpe")
    ]
    configured = getattr(model.config, "max_position_embeddings", None)
    return min([*usable, configured] if configured else usable) if usable else None


def token_types(model: PreTrainedModel) -> int:
    """How many token types the model distinguishes: 1 if it takes no ``token_type_ids`` or has no table for them."""
    takes = "token_type_ids" in inspect.signature(model.forward).parameters
    return max(1, getattr(model.config, "type_vocab_size", 3)) if takes else 1  # XLNet counts three, without a table
