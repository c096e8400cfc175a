"""A whole batch in one row, without padding.

At batch 16 about half of the tokens of a padded GLUE batch are padding. Here the sequences of a batch stand one
behind the other in a row ``[1, tokens]`` with positions that restart. Attention keeps to each sequence; the head gets
the first token of each. Same batches, same losses.

Above the attention of the top layer nothing that the head reads depends on any other token. So its queries and its
feed-forward part are computed for first tokens only, and on a CPU these few attend to the hidden states themselves,
without keys and values: same logits, losses and gradients, nearly all of the layer's matrix products left out. What
reads the layer's output for every token says so (:func:`compute_every_token`).

How it enters a model without a fork: an attention function of transformers' ``AttentionInterface``, a mask function
that makes none, a forward method for the top layer's attention block, and a hook behind the encoder. A
:class:`Packing` travels as the keyword ``packing`` of the forward call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from hype_bench.models.attention import Packing, attend_each
from hype_bench.models.layers import attention_block, encoder_layers
from hype_bench.models.padded_attention import attend_batch, attend_padded
from hype_bench.options import UserError

NAME = "hype_bench_packed"
_READERS = "readers_of_every_token"  # how many there are, on the top layer
_AS_BERT = ("bert", "roberta", "electra", "xlm-roberta", "camembert")
FAMILIES = (*_AS_BERT, "modernbert")  # shown to equal padding by tests, or twins of those


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of every sequence of a packed row to itself alone.

    Args:
        query: (1, heads, queries, head width).
        key, value: (1, heads, tokens, head width).
        packing: where the row's sequences lie; without it the input is an ordinary batch with an ordinary mask.
        sliding_window: tokens this far apart, or further, do not attend to each other, in layers with local attention.

    Returns:
        (1, queries, heads, head width), and no attention weights.
    """
    if packing is None:
        attended = attend_batch(query, key, value, attention_mask, dropout, scaling)
        return attended.transpose(1, 2).contiguous(), None
    heads = query.squeeze(0), key.squeeze(0), value.squeeze(0)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = attend_each if query.device.type == "cpu" else attend_padded
    attended = attend(*heads, packing, dropout, scaling, sliding_window)
    return attended.transpose(0, 1)[None], None


def can_pack(model: PreTrainedModel) -> bool:
    """Whether this model computes the same on a packed row as on a padded batch."""
    return model.config.model_type in FAMILIES


def is_packed(model: PreTrainedModel) -> bool:
    """Whether packing is attached to the model, so that batches come as rows."""
    return bool(model.config._attn_implementation == NAME)


def takes_filler(model: PreTrainedModel) -> bool:
    """Whether tokens that belong to no example may stand at the end of a packed row."""
    return model.config.model_type in _AS_BERT


def first_position(model: PreTrainedModel) -> int:
    """The position number of a sequence's first token: 0, or for RoBERTa one past the padding index."""
    if model.config.model_type not in _AS_BERT:  # rotary: positions rotate queries and keys
        return 0
    table: Any = model.base_model.get_submodule("embeddings.position_embeddings")
    return 0 if table.padding_idx is None else int(table.padding_idx) + 1


def attach_packing(model: PreTrainedModel) -> Callable[[], None]:
    """Makes the model take packed rows (see :class:`Packing`); returns what undoes it."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    undo = _attach_to_bert(model) if model.config.model_type in _AS_BERT else _attach_to_modernbert(model)

    def detach() -> None:
        undo()
        model.set_attn_implementation(before)

    return detach


def compute_every_token(model: PreTrainedModel) -> Callable[[], None]:
    """Makes the top layer of a packed row compute every token, for whoever reads its output; returns what undoes it.

    Raises:
        UserError: the layers see fewer hidden states than there are tokens (CANINE pools characters).
    """
    check_every_token(model)
    state = vars(encoder_layers(model)[-1])
    state[_READERS] = state.get(_READERS, 0) + 1

    def undo() -> None:
        state[_READERS] -= 1
        if not state[_READERS]:
            del state[_READERS]

    return undo


def check_every_token(model: PreTrainedModel) -> None:
    """Raises UserError as :func:`compute_every_token` does."""
    if getattr(model.config, "downsampling_rate", 1) > 1:
        raise UserError(f"{model.config.model_type} has no hidden state for every token: its layers see them pooled")


def _refuse_hidden_states(base: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Those of the top layer would be first tokens beside every token of the others."""
    asked = kwargs.get("output_hidden_states", base.config.output_hidden_states)
    if kwargs.get("packing") is not None and asked not in (None, False):
        raise UserError("output_hidden_states is not available on packed rows: set training.packing=off")


def _attach_to_bert(model: PreTrainedModel) -> Callable[[], None]:
    top: Any = encoder_layers(model)[-1]
    block: Any = attention_block(top)
    block.forward = MethodType(_attention_block, block)
    handles = [
        model.base_model.register_forward_pre_hook(_refuse_hidden_states, with_kwargs=True),
        top.register_forward_pre_hook(_query_first_tokens, with_kwargs=True),
        model.base_model.get_submodule("encoder").register_forward_hook(_keep_first_tokens, with_kwargs=True),
    ]

    def detach() -> None:
        for handle in handles:
            handle.remove()
        del block.forward  # its class has the original

    return detach


def _attach_to_modernbert(model: PreTrainedModel) -> Callable[[], None]:
    """Its top layer is computed for every token: the head may read the mean of a sequence."""
    keep = _keep_means if model.config.classifier_pooling == "mean" else _keep_first_tokens
    return model.base_model.register_forward_hook(keep, with_kwargs=True).remove


def _query_first_tokens(top: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Before the top layer: its attention needs first tokens only, unless somebody reads every token."""
    if (packing := kwargs.get("packing")) is None or vars(top).get(_READERS):
        return None
    return args, kwargs | {"packing": replace(packing, queries=1)}


def _attention_block(block: Any, hidden: Tensor, *args: Any, packing: Packing | None = None, **kwargs: Any) -> Any:
    """The forward method of the top layer's attention block: (1, tokens, width) -> (1, tokens or batch, width)."""
    if packing is None or not packing.queries:
        return type(block).forward(block, hidden, *args, packing=packing, **kwargs)
    attention, first = block.self, hidden.index_select(1, packing.starts)
    attend = (
        _attend_to_states
        if hidden.device.type == "cpu" and _are_plain(attention.key, attention.value)
        else _attend_to_keys
    )
    query = attention.query(first).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
    attended = attend(attention, query, hidden, packing, attention.dropout.p if block.training else 0.0)
    return block.output(attended.flatten(2), first), None


def _attend_to_keys(attention: Any, query: Tensor, hidden: Tensor, packing: Packing, dropout: float) -> Tensor:
    """(1, heads, batch, head width), (1, tokens, width) -> (1, batch, heads, head width)."""
    key, value = (
        linear(hidden).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        for linear in (attention.key, attention.value)
    )
    return packed_attention(attention, query, key, value, None, dropout, attention.scaling, packing)[0]


def _attend_to_states(attention: Any, query: Tensor, hidden: Tensor, packing: Packing, dropout: float) -> Tensor:
    """The same without a key and a value for every token: ``q (W x + b) = (q W) x + q b``, and values likewise.

    Each head's query becomes one over the whole hidden width, with a column for the bias.
    """
    heads, batch, width = query.shape[1:]
    key, value = (
        torch.cat([linear.weight, linear.bias[:, None]], 1).unflatten(0, (heads, width))
        for linear in (attention.key, attention.value)
    )
    queries = torch.bmm(query.squeeze(0), key).transpose(0, 1).reshape(1, batch * heads, -1)
    states = F.pad(hidden, (0, 1), value=1.0).to(queries.dtype)
    attended = attend_each(queries, states, states, replace(packing, queries=heads), dropout, attention.scaling)
    return torch.bmm(attended.view(batch, heads, -1).transpose(0, 1), value.mT).transpose(0, 1)[None]


def _are_plain(*linears: nn.Module) -> bool:
    """Whether no technique has replaced, wrapped or hooked these linear maps: their weights say what they compute."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return all(
        type(linear) is nn.Linear
        and linear.bias is not None
        and "forward" not in vars(linear)
        and not any(getattr(linear, kind) for kind in kinds)
        for linear in linears
    )


def _keep_first_tokens(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """(1, tokens, width) -> (batch, 1, width), on which every head that reads token 0 works unchanged."""
    if (packing := kwargs.get("packing")) is not None:
        states = output.last_hidden_state.squeeze(0)
        first = states if len(states) == packing.sequences else states.index_select(0, packing.starts)
        output.last_hidden_state = first[: len(packing.lengths), None]
    return output


def _keep_means(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """(1, tokens, width) -> (batch, 1, width), of which the mean over tokens is that over each sequence."""
    if (packing := kwargs.get("packing")) is not None:
        states = output.last_hidden_state.squeeze(0)
        sums = states.new_zeros(len(packing.lengths), states.shape[1]).index_add(0, packing.segment_ids, states)
        output.last_hidden_state = (sums / packing.cu_seqlens.diff()[:, None])[:, None]
    return output


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for padded batches; a packed row comes without a mask
