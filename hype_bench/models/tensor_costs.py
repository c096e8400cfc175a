"""What each weight tensor of an encoder costs in multiply-adds, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.models.layers import depths, encoder_layers, is_layer_norm

_VALUES = {"value", "value_proj", "v", "v_proj", "v_lin", "in_proj", "Wqkv"}  # the map of an attention's values


class Cost(NamedTuple):
    """Multiply-adds of one weight tensor: for handing the gradient on, for its own gradient, in the forward pass."""

    passing: float
    own: float
    forward: float


def cost(kind: str, shape: Sequence[int], tokens: float) -> Cost:
    """What a tensor costs for so many tokens: a linear ``map``, a ``bias``, a ``table`` of embeddings, the ``gain`` of
    a LayerNorm or its ``offset``.

    Reference: Huang, Yin, Huang and Gao 2024, "Towards Green AI in Fine-tuning Large Language Models via Adaptive
    Backpropagation", arXiv:2309.13192
    """
    size = tokens * (shape[-1] if kind == "table" else prod(shape))
    passing = size if kind in ("map", "gain") else 0.0
    return Cost(passing, 0.0 if kind == "offset" else size, size)


def tensor_costs(model: PreTrainedModel, length: float) -> dict[nn.Parameter, Cost]:
    """Of every tensor of the model for one example of ``length`` tokens, in the order in which it is registered."""
    height, costs = depths(model), dict[nn.Parameter, Cost]()
    top = max(height.values())
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            costs.setdefault(p, cost(_kind(module, name, p), p.shape, 1 if height[p] == top else length))
    for layer in encoder_layers(model):
        named = dict(layer.named_parameters())
        value = next((name for name in named if _VALUES & {*name.split(".")}), next(iter(named)))
        maps, plain = length**2 * model.config.hidden_size, costs[named[value]]
        costs[named[value]] = Cost(plain.passing + 4 * maps, plain.own, plain.forward + 2 * maps)
    return costs


def _kind(module: nn.Module, name: str, parameter: Tensor) -> str:
    if isinstance(module, nn.Embedding):
        return "table"
    if is_layer_norm(module):
        return "gain" if name == "weight" else "offset"
    return "map" if parameter.dim() > 1 else "bias"
