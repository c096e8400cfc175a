"""Which linear maps of an encoder a low-rank addition usually takes."""

from __future__ import annotations

from transformers import PreTrainedModel

from hype_bench.models.layers import encoder_layers, linear_maps
from hype_bench.options import UserError

_IN_ONE = ("in_proj", "Wqkv")  # query, key and value: DeBERTa, ModernBERT
_QUERY_VALUE = ("query", "value", "query_proj", "value_proj", "q", "v", "q_proj", "v_proj", "q_lin", "v_lin", *_IN_ONE)


def target_maps(technique: str, model: PreTrainedModel, target: str) -> list[str]:
    """The names of the linear maps of the layers: ``all``, or ``query_value``.

    Raises:
        UserError: there is none.
    """
    inside = {module for layer in encoder_layers(model) for module in layer.modules()}
    names = [
        name
        for name, module in linear_maps(model).items()
        if module in inside and (target == "all" or name.rpartition(".")[2] in _QUERY_VALUE)
    ]
    if not names:
        kind = model.config.model_type
        raise UserError(f"{technique}.target=query_value finds no linear map in a {kind}; use {technique}.target=all")
    return names
