"""The parts of an encoder that techniques act on, found the same way for every family."""

from __future__ import annotations

import re

from torch import nn
from transformers import PreTrainedModel

from hype_bench.options import UserError

_STACKS = ("encoder.layer", "layer", "encoder.layers", "layers", "transformer.layer")
_NOT_HIDDEN = re.compile(r"(attention\.self\.dropout|sequence_summary\..*|^pooler\.dropout)$")


def encoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The transformer layers, lowest first; each takes the hidden states as its first positional argument.

    BERT, RoBERTa, ELECTRA, DeBERTa, DeBERTa-v2: (batch, length, width); XLNet: (length, batch, width).
    """
    for path in _STACKS:
        stack: object = model.base_model
        for name in path.split("."):
            stack = getattr(stack, name, None)
        if isinstance(stack, nn.ModuleList) and len(stack) == model.config.num_hidden_layers:
            return list(stack)
    raise UserError(f"the layers of a {model.config.model_type} were not found; known places are {', '.join(_STACKS)}")


def attention_block(layer: nn.Module) -> nn.Module:
    """The attention part of a layer with its LayerNorm: its output is what the feed-forward part takes."""
    for name in ("attention", "rel_attn"):
        if isinstance(block := getattr(layer, name, None), nn.Module):
            return block
    raise UserError(f"a {type(layer).__name__} has no attention block that is known here")


def hidden_dropouts(model: PreTrainedModel) -> dict[str, nn.Dropout]:
    """Every dropout that ``hidden_dropout_prob`` (XLNet: ``dropout``) drives, by name.

    Not the one on attention probabilities, except for XLNet, where one value drives both; not XLNet's
    ``summary_last_dropout`` (HyPe code, main.py; methods.md 1.3) and not DeBERTa's ``pooler_dropout``.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout) and not _NOT_HIDDEN.search(name)
    }
