"""The parts of an encoder that techniques act on, found the same way for every family."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from hype_bench.options import UserError

_STACKS = ("encoder.layer", "layer", "encoder.layers", "layers", "transformer.layer")


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


def output_projection(model: PreTrainedModel) -> nn.Linear:
    """The head's last linear map, whose output are the logits."""
    outside = [m for name, m in _outside_base(model) if isinstance(m, nn.Linear)]
    if not outside or outside[-1].out_features != model.config.num_labels:
        raise UserError(f"the output projection of a {type(model).__name__} was not found")
    return outside[-1]


def _outside_base(model: PreTrainedModel) -> list[tuple[str, nn.Module]]:
    prefix = f"{model.base_model_prefix}."
    return [(name, m) for name, m in model.named_modules() if not f"{name}.".startswith(prefix)]


def pooler(model: PreTrainedModel) -> nn.Module | None:
    """What stands between the encoder and the dropout before a one-layer head: BERT's or DeBERTa's pooler, XLNet's
    summary; None for RoBERTa and ELECTRA, whose head has two layers of its own."""
    for parent, name in ((model.base_model, "pooler"), (model, "pooler"), (model, "sequence_summary")):
        if isinstance(found := getattr(parent, name, None), nn.Module):
            return found
    return None


def depths(model: PreTrainedModel) -> dict[nn.Parameter, int]:
    """How high each parameter stands: 0 for embeddings, 1 for the lowest layer, one more than layers for pooler and
    head. What a stack shares between its layers (DeBERTa's relative positions) counts as embeddings."""
    stack = encoder_layers(model)
    known = {p: level for level, layer in enumerate(stack, start=1) for p in layer.parameters()}
    above = pooler(model)
    if above is not None:
        known |= dict.fromkeys(above.parameters(), len(stack) + 1)
    inside = set(model.base_model.parameters())
    return {p: known.get(p, 0 if p in inside else len(stack) + 1) for p in model.parameters()}


def is_layer_norm(module: nn.Module) -> bool:
    return "LayerNorm" in type(module).__name__
