"""The parts of an encoder that techniques act on, found by their role and not by an architecture's names."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from hype_bench.options import UserError


class Beside(nn.Module):
    """What a technique has put beside encoder and head: others leave the modules in it alone."""


_ATTENTION_OUTPUTS = ("output.dense", "out_lin", "Wo", "o", "o_proj")  # of an attention block, in any family


def encoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The transformer layers, lowest first; each takes the hidden states as its first positional argument.

    (batch, length, width) everywhere but in XLNet, where they are (length, batch, width). They are the one list of
    ``num_hidden_layers`` modules in the encoder. ALBERT, whose layers share their weights, Funnel, whose layers stand
    in blocks, XLM, which keeps the parts of its layers apart, and encoder-decoders have none.

    Raises:
        UserError: there is no such list, or more than one.
    """
    depth = getattr(model.config, "num_hidden_layers", None)
    stacks = {name: m for name, m in model.base_model.named_modules() if _is_stack(m, depth)}
    outermost = [m for name, m in stacks.items() if not any(name.startswith(f"{other}.") for other in stacks)]
    if len(outermost) == 1:
        return list(outermost[0])
    raise UserError(
        f"{model.config.model_type} cannot take this technique: it has no single stack of layers, each with weights of "
        "its own"
    )


def _is_stack(module: nn.Module, depth: int | None) -> bool:
    return (
        isinstance(module, nn.ModuleList)
        and len(module) == depth
        and not any(isinstance(layer, nn.ModuleList) for layer in module)
        and all(any(True for _ in layer.parameters()) for layer in module)
    )


def attention_block(layer: nn.Module) -> nn.Module:
    """The attention part of a layer; in most architectures with the LayerNorm behind it, so that its output is what the
    feed-forward part takes."""
    for name in ("attention", "rel_attn", "attn", "self_attn"):
        if isinstance(block := getattr(layer, name, None), nn.Module):
            return block
    raise UserError(f"a {type(layer).__name__} has no attention block that is known here")


def feed_forward_maps(layer: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    """Of a layer's feed-forward part the linear map that reads its input and the one that gives its output, before
    dropout, residual connection and LayerNorm."""
    attention = set(attention_block(layer).modules())
    maps = [m for m in layer.modules() if isinstance(m, nn.Linear) and m not in attention]
    if not maps:
        raise UserError(f"a {type(layer).__name__} has no feed-forward part of linear maps")
    return maps[0], maps[-1]


def attention_output(layer: nn.Module) -> nn.Linear | None:
    """The linear map that joins the heads of a layer's attention; None if there is none, as in XLNet."""
    for name, module in attention_block(layer).named_modules():
        if hasattr(module, "in_features") and name.endswith(_ATTENTION_OUTPUTS):  # linear, or an adapter around it
            output: nn.Linear = module
            return output
    return None


def output_projection(model: PreTrainedModel) -> nn.Linear:
    """The head's last linear map, whose output are the logits."""
    return head_maps(model)[-1]


def head_maps(model: PreTrainedModel) -> list[nn.Linear]:
    """The linear maps above the pre-trained encoder, lowest first; the last one is the output projection."""
    outside = [m for name, m in _outside_base(model) if isinstance(m, nn.Linear)]
    if not outside or outside[-1].out_features != model.config.num_labels:
        raise UserError(f"the output projection of a {type(model).__name__} was not found")
    return outside


def _outside_base(model: PreTrainedModel) -> list[tuple[str, nn.Module]]:
    prefix = f"{model.base_model_prefix}."
    return [(name, m) for name, m in _own_modules(model) if not f"{name}.".startswith(prefix)]


def _own_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Encoder and head, without what is :class:`Beside` them."""
    every = list(model.named_modules())
    beside = tuple(f"{name}." for name, m in every if isinstance(m, Beside))
    return [(name, m) for name, m in every if not f"{name}.".startswith(beside)]


def word_embeddings(model: PreTrainedModel) -> nn.Module:
    """The table of word embeddings.

    Raises:
        UserError: the architecture has none: CANINE hashes characters.
    """
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        raise UserError(f"{model.config.model_type} cannot take this technique: it has no word embeddings") from None


def linear_maps(model: nn.Module) -> dict[str, nn.Linear]:
    """All linear maps of encoder and head, by name.

    Raises:
        UserError: the encoder has none: SqueezeBERT and GPT-2 are made of convolutions.
    """
    above = pooler(model)
    encoder = set(_base(model).modules()) - set(above.modules() if above is not None else ())
    maps = {name: m for name, m in _own_modules(model) if isinstance(m, nn.Linear)}
    if encoder.isdisjoint(maps.values()):
        raise UserError("this technique acts on linear maps, and the encoder is made of other modules")
    return maps


def _base(model: nn.Module) -> nn.Module:
    """The encoder of a classifier; of any other module all of it."""
    return getattr(model, "base_model", model)


def pooler(model: nn.Module) -> nn.Module | None:
    """What stands between the encoder and the dropout before a one-layer head: BERT's or DeBERTa's pooler, XLNet's
    summary; None for RoBERTa and ELECTRA, whose head has two layers of its own."""
    for parent, name in ((_base(model), "pooler"), (model, "pooler"), (model, "sequence_summary")):
        if isinstance(module := getattr(parent, name, None), nn.Module):
            return module
    return None


def head_parameters(model: PreTrainedModel) -> set[nn.Parameter]:
    """What stands above encoder and pooler."""
    above = pooler(model)
    inside = {*model.base_model.parameters(), *(above.parameters() if above is not None else ())}
    return set(model.parameters()) - inside


def depths(model: PreTrainedModel) -> dict[nn.Parameter, int]:
    """How high each parameter stands: 0 for embeddings, 1 for the lowest layer, one more than layers for head, pooler
    and whatever else the encoder has above its stack (ModernBERT's last norm). What a stack shares between its layers
    (DeBERTa's relative positions) counts as embeddings."""
    stack = encoder_layers(model)
    top = len(stack) + 1
    known = {p: level for level, layer in enumerate(stack, start=1) for p in layer.parameters()}
    above = False  # the parts of an encoder are registered in the order in which they act
    for part in model.base_model.children():
        if above:
            known |= {p: top for p in part.parameters() if p not in known}
        above = above or stack[0] in set(part.modules())
    inside = set(model.base_model.parameters())
    return {p: known.get(p, 0 if p in inside else top) for p in model.parameters()}


def is_layer_norm(module: nn.Module) -> bool:
    """Whether it is a LayerNorm or one of its kind (RMSNorm, DeBERTa's own class), whatever a model calls it."""
    return type(module).__name__.endswith("Norm") and any(True for _ in module.parameters(recurse=False))
