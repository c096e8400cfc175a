"""A whole batch in one row, without padding.

At batch 16 about half of the tokens of a padded GLUE batch are padding. Here the sequences of a batch stand one
behind the other in a row ``[1, tokens]`` with positions that restart. Attention keeps to each sequence; the head gets
the first token of each. Same batches, same losses.

How it enters a model without a fork: an attention function of transformers' ``AttentionInterface``, a mask function
that makes none, and a hook behind the encoder. The layout travels as the keyword ``packing`` of the forward call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from hype_bench.models.attention import Layout, attend_each, attend_padded

NAME = "hype_bench_packed"
FAMILIES = ("bert", "roberta", "electra", "xlm-roberta", "camembert")  # shown equal by tests, or twins of those


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Layout | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of every sequence of a packed row to itself alone.

    Args:
        query, key, value: (1, heads, tokens, head width).
        packing: the row's layout; without one the input is an ordinary batch with an ordinary mask.

    Returns:
        (1, tokens, heads, head width), and no attention weights.
    """
    if packing is None:
        attended = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    attend = attend_each if query.device.type == "cpu" else attend_padded
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend(query[0], key[0], value[0], packing, dropout, scaling).transpose(0, 1)[None], None


def can_pack(model: PreTrainedModel) -> bool:
    """Whether this model computes the same on a packed row as on a padded batch."""
    return model.config.model_type in FAMILIES


def first_position(model: PreTrainedModel) -> int:
    """The position number of a sequence's first token: 0, or for RoBERTa one past the padding index."""
    table: Any = model.base_model.get_submodule("embeddings.position_embeddings")
    return 0 if table.padding_idx is None else int(table.padding_idx) + 1


def attach_packing(model: PreTrainedModel) -> Callable[[], None]:
    """Makes the model take packed rows (see :class:`Layout`); returns what undoes it."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    handle = model.base_model.get_submodule("encoder").register_forward_hook(_keep_first_tokens, with_kwargs=True)

    def detach() -> None:
        handle.remove()
        model.set_attn_implementation(before)

    return detach


def _keep_first_tokens(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """(1, tokens, width) -> (batch, 1, width), on which every head that reads token 0 works unchanged."""
    if (packing := kwargs.get("packing")) is not None:
        output.last_hidden_state = output.last_hidden_state[0].index_select(0, packing.starts)[:, None]
    return output


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for padded batches; a packed row comes without a mask
