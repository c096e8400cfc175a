"""A whole batch in one row, without padding.

At batch 16 about half of the tokens of a padded GLUE batch are padding. Here the sequences of a batch stand one
behind the other in a row ``[1, tokens]`` with positions that restart. Attention keeps to each sequence; the head gets
the first token of each. Same batches, same losses.

Above the keys and values of the top layer nothing that the head reads depends on any other token. So its queries and
its feed-forward part are computed for first tokens only: same logits, losses and gradients, five sixths of the layer's
matrix products left out. Whoever looks at the layer's output by a forward hook on it, as LNSR does, gets all of it.

How it enters a model without a fork: an attention function of transformers' ``AttentionInterface``, a mask function
that makes none, a forward method for the top layer's attention block, and a hook behind the encoder. The layout travels
as the keyword ``packing`` of the forward call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from hype_bench.models.attention import Layout, attend_each, attend_padded
from hype_bench.models.layers import attention_block, encoder_layers

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
        query: (1, heads, asking tokens, head width).
        key, value: (1, heads, tokens, head width).
        packing: the row's layout; without one the input is an ordinary batch with an ordinary mask.

    Returns:
        (1, asking tokens, heads, head width), and no attention weights.
    """
    if packing is None:
        attended = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    attend = attend_each if query.device.type == "cpu" else attend_padded
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = attend(query.squeeze(0), key.squeeze(0), value.squeeze(0), packing, dropout, scaling)
    return attended.transpose(0, 1)[None], None


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
    top: Any = encoder_layers(model)[-1]
    block: Any = attention_block(top)
    block.forward = MethodType(_attention_block, block)
    handles = [
        top.register_forward_pre_hook(_ask_for_first_tokens, with_kwargs=True),
        model.base_model.get_submodule("encoder").register_forward_hook(_keep_first_tokens, with_kwargs=True),
    ]

    def detach() -> None:
        for handle in handles:
            handle.remove()
        del block.forward  # its class has the original
        model.set_attn_implementation(before)

    return detach


def _ask_for_first_tokens(top: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Before the top layer: tells its attention, unless somebody looks at what the layer puts out."""
    if (packing := kwargs.get("packing")) is None or top._forward_hooks:
        return None
    return args, kwargs | {"packing": replace(packing, first_only=True)}


def _attention_block(block: Any, hidden: Tensor, *args: Any, packing: Layout | None = None, **kwargs: Any) -> Any:
    """The forward method of the top layer's attention block: (1, tokens, width) -> (1, asking tokens, width)."""
    if packing is None or not packing.first_only:
        return type(block).forward(block, hidden, *args, packing=packing, **kwargs)
    attention, first = block.self, hidden.index_select(1, packing.starts)
    query, key, value = (
        linear(x).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        for linear, x in ((attention.query, first), (attention.key, hidden), (attention.value, hidden))
    )
    dropout = attention.dropout.p if block.training else 0.0
    attended, _ = packed_attention(attention, query, key, value, None, dropout, attention.scaling, packing)
    return block.output(attended.flatten(2), first), None


def _keep_first_tokens(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """(1, tokens, width) -> (batch, 1, width), on which every head that reads token 0 works unchanged."""
    if (packing := kwargs.get("packing")) is not None:
        states = output.last_hidden_state.squeeze(0)
        first = states if len(states) == len(packing.lengths) else states.index_select(0, packing.starts)
        output.last_hidden_state = first[:, None]
    return output


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for padded batches; a packed row comes without a mask
