"""Which linear maps of an encoder adapters usually take."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from hype_bench.models.layers import encoder_layers, feed_forward_maps, linear_maps
from hype_bench.options import UserError

_IN_ONE = ("in_proj", "Wqkv")  # query, key and value: DeBERTa, ModernBERT
_VALUE = ("value", "value_proj", "v", "v_proj", "v_lin")
_QUERY_VALUE = ("query", "query_proj", "q", "q_proj", "q_lin", *_VALUE, *_IN_ONE)
_KEY_VALUE = ("key", "key_proj", "k", "k_proj", "k_lin", *_VALUE, *_IN_ONE)


def target_maps(technique: str, model: PreTrainedModel, target: str) -> list[str]:
    """The names of the linear maps of the layers: ``all``, or ``query_value``.

    Raises:
        UserError: there is none.
    """
    inside = _of_the_layers(model)
    names = [name for name in inside if target == "all" or name.rpartition(".")[2] in _QUERY_VALUE]
    if not names:
        kind = model.config.model_type
        raise UserError(f"{technique}.target=query_value finds no linear map in a {kind}; use {technique}.target=all")
    return names


def key_value_maps(technique: str, model: PreTrainedModel) -> list[str]:
    """The names of the linear maps that give keys and values.

    Raises:
        UserError: there is none.
    """
    names = [name for name in _of_the_layers(model) if name.rpartition(".")[2] in _KEY_VALUE]
    if not names:
        raise UserError(
            f"{technique} is not available for {model.config.model_type}: its attention has no linear maps of keys and "
            "values"
        )
    return names


def outputs_of_feed_forward(model: PreTrainedModel) -> list[str]:
    """The names of the linear maps that give the output of the feed-forward parts."""
    last = {feed_forward_maps(layer)[1] for layer in encoder_layers(model)}
    return [name for name, module in _of_the_layers(model).items() if module in last]


def _of_the_layers(model: PreTrainedModel) -> dict[str, nn.Linear]:
    inside = {module for layer in encoder_layers(model) for module in layer.modules()}
    return {name: module for name, module in linear_maps(model).items() if module in inside}
