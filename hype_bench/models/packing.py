"""A whole batch in one row: no padding in the linear layers, little of it inside attention.

At batch 16 about half of the tokens of a padded GLUE batch are padding. Here the sequences of a batch stand one
behind the other in a row ``[1, tokens]`` with positions that restart. Attention cuts the row into groups of
sequences of similar length; the head gets the first token of each sequence. Same batches, same losses.

How it enters a model without a fork: an attention function of transformers' ``AttentionInterface``, a mask function
that makes none, and a hook behind the encoder. The layout travels as the keyword ``packing`` of the forward call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from hype_bench.models.dropout import bulk_dropout

NAME = "hype_bench_packed"
FAMILIES = ("bert", "roberta", "electra", "xlm-roberta", "camembert")  # shown equal by tests, or twins of those
_MOST_IN_GROUP = 4


@dataclass(frozen=True)
class Group:
    """Sequences that attention treats as one padded batch; ``bias``: 0 or -inf, (sequences, 1, 1, length)."""

    sequences: int
    length: int
    bias: Tensor | None


@dataclass(frozen=True)
class Layout:
    """Where the sequences of a packed row lie.

    starts: the row's index of each sequence's first token, (batch,).
    lengths: tokens of each sequence, in batch order.
    gather: for every slot of every group, the row's index that fills it, (slots,).
    scatter: for every token of the row, its slot, (tokens,).
    """

    starts: Tensor
    lengths: list[int]
    groups: list[Group]
    gather: Tensor
    scatter: Tensor

    def to(self, device: torch.device) -> Layout:
        groups = [Group(g.sequences, g.length, None if g.bias is None else g.bias.to(device)) for g in self.groups]
        return Layout(self.starts.to(device), self.lengths, groups, self.gather.to(device), self.scatter.to(device))


def make_layout(lengths: list[int], most_in_group: int = _MOST_IN_GROUP) -> Layout:
    """The layout of sequences of these lengths (each at least 1) in one row, in this order."""
    sizes = torch.tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups, gather, scatter = [], [], torch.empty(int(sizes.sum()), dtype=torch.long)
    slot = 0
    for first in range(0, len(order), most_in_group):
        members = order[first : first + most_in_group]
        longest = lengths[members[-1]]
        inside = torch.arange(longest)[None] < sizes[members][:, None]  # (sequences, longest)
        rows = starts[members][:, None] + torch.arange(longest)[None].minimum(sizes[members][:, None] - 1)
        gather.append(rows.flatten())
        scatter[rows[inside]] = slot + inside.flatten().nonzero().flatten()
        bias = None if bool(inside.all()) else torch.zeros(inside.shape).masked_fill(~inside, float("-inf"))
        groups.append(Group(len(members), longest, None if bias is None else bias[:, None, None, :]))
        slot += len(members) * longest
    return Layout(starts, list(lengths), groups, torch.cat(gather), scatter)


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
        return _attend(query, key, value, attention_mask, dropout, scaling).transpose(1, 2).contiguous(), None
    sizes = [group.sequences * group.length for group in packing.groups]
    queries, keys, values = (
        x[0].transpose(0, 1).index_select(0, packing.gather).split(sizes) for x in (query, key, value)
    )
    attended = []
    for group, *qkv in zip(packing.groups, queries, keys, values, strict=True):
        q, k, v = (x.unflatten(0, (group.sequences, group.length)).transpose(1, 2) for x in qkv)
        attended.append(_attend(q, k, v, group.bias, dropout, scaling).transpose(1, 2).flatten(0, 1))
    return torch.cat(attended).index_select(0, packing.scatter)[None], None


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float, scaling: float | None) -> Tensor:
    if bias is not None:
        bias = torch.where(bias, 0.0, float("-inf")) if bias.dtype == torch.bool else bias.to(q.dtype)
    if dropout == 0.0 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scaling)
    scores = (q * (q.shape[-1] ** -0.5 if scaling is None else scaling)) @ k.transpose(-1, -2)
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return bulk_dropout(weights, dropout) @ v


def can_pack(model: PreTrainedModel) -> bool:
    """Whether this model computes the same on a packed row as on a padded batch."""
    return model.config.model_type in FAMILIES


def first_position(model: PreTrainedModel) -> int:
    """The position number of a sequence's first token: 0, or for RoBERTa one past the padding index."""
    table: Any = model.base_model.get_submodule("embeddings.position_embeddings")
    return 0 if table.padding_idx is None else int(table.padding_idx) + 1


def attach_packing(model: PreTrainedModel) -> Callable[[], None]:
    """Makes the model take packed rows (see :func:`make_layout`); returns what undoes it."""
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
