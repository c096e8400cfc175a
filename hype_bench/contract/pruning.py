"""Entries and heads of frozen weights that are set to 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import PreTrainedModel

from hype_bench.models.layers import attention_output, encoder_layers
from hype_bench.options import UserError


def keep_largest_(weights: Sequence[Tensor], scores: Sequence[Tensor], fraction: float) -> None:
    """Sets to 0, in place, this fraction of the entries of all weights together, those with the smallest ``|score|``.

    Args:
        scores: of each weight, in its shape.
    """
    if not weights:
        return
    flat = torch.cat([score.flatten() for score in scores])
    keep = prune.L1Unstructured(fraction).compute_mask(flat, torch.ones_like(flat, dtype=torch.bool))
    for weight, part in zip(weights, keep.split([weight.numel() for weight in weights]), strict=True):
        weight.masked_fill_(~part.view_as(weight), 0)


def drop_heads_(layer: nn.Module, scores: Float[Tensor, " width"], heads: int, count: int) -> list[int]:
    """Lets a layer's attention do without some heads: of the map that joins them, what reads these is set to 0.

    Returns the numbers of these heads.

    Args:
        scores: of each output of the heads, one head behind the other; the ``count`` heads with the lowest sums go.
    """
    joining = attention_output(layer)
    assert joining is not None  # see check_heads
    dropped = scores.view(heads, -1).sum(1).argsort(stable=True)[:count]
    joining.weight.view(len(joining.weight), heads, -1)[:, dropped] = 0
    return sorted(dropped.tolist())


def check_heads(option: str, count: int, model: PreTrainedModel, maps: Iterable[str]) -> None:
    """Raises UserError if so many heads of each layer cannot be dropped.

    Args:
        maps: the names of those of query and value, whose rows must be those of the heads.
    """
    heads = model.config.num_attention_heads
    if count >= heads:
        raise UserError(f"{option} must be below {heads}, the heads of a layer, not {count}")
    widths = {model.get_submodule(name).out_features for name in maps}
    if widths != {getattr(attention_output(layer), "in_features", None) for layer in encoder_layers(model)}:
        raise UserError(f"{option} is not available for {model.config.model_type}: its heads have no maps of their own")
