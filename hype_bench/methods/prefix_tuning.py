"""Prefix tuning (Li and Liang, ACL 2021)."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, NoiseSource, Part, UserError, number, register
from hype_bench.contract.freeze import train_only
from hype_bench.models.attention import Packing
from hype_bench.models.layers import attention_block, encoder_layers, head_parameters
from hype_bench.models.packing import compute_every_token
from hype_bench.models.padded_attention import attend_batch

_NAME = "prefix_tuning"
_ATTENTION = "hype_bench_prefix"
_MODELS = ("bert", "roberta", "electra", "xlm-roberta", "camembert", "distilbert", "modernbert", "eurobert")


def attend(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch groups tokens width"],
    value: Float[Tensor, "batch groups tokens width"],
    prefix_key: Float[Tensor, "groups prefix width"],
    prefix_value: Float[Tensor, "groups prefix width"],
    mask: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
) -> Float[Tensor, "batch heads queries width"]:
    """Attention to the tokens and to a prefix, which all queries of all examples see.

    Args:
        mask: of the tokens, (batch, 1, queries or 1, tokens): True where they are seen, or what is added to the scores.

    Reference: Li and Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", arXiv:2101.00190
    """
    key, value = (
        torch.cat([prefix.to(x.dtype).expand(len(x), -1, -1, -1), x], 2)
        for prefix, x in ((prefix_key, key), (prefix_value, value))
    )
    if mask is not None:
        mask = F.pad(mask, (prefix_key.shape[1], 0), value=True if mask.dtype == torch.bool else 0.0)
    return attend_batch(query, key, value, mask, dropout, scaling)


def _attention(
    module: Any,
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
    """What transformers calls as attention: of a padded batch, or of a packed row, which is padded for it."""
    prefix = getattr(module, _NAME)
    if packing is None:
        attended = attend(query, key, value, prefix.key, prefix.value, attention_mask, dropout, scaling)
        return attended.transpose(1, 2).contiguous(), None
    padded = [x[0].index_select(1, packing.sources.flatten()) for x in (query, key, value)]
    q, k, v = (x.unflatten(1, packing.sources.shape).transpose(0, 1) for x in padded)
    attended = attend(q, k, v, prefix.key, prefix.value, _mask(packing, sliding_window), dropout, scaling)
    return attended.transpose(1, 2).flatten(0, 1).index_select(0, packing.slots)[None], None


def _mask(packing: Packing, window: int | None) -> Bool[Tensor, "sequences 1 queries tokens"]:
    seen = packing.mask[:, None, None, :]
    if window is None:
        return seen
    positions = torch.arange(seen.shape[-1], device=seen.device)
    return seen & ((positions[:, None] - positions).abs() < window)


class _Prefix(nn.Module):
    """Keys and values that stand in front of those of a layer's tokens."""

    def __init__(self, model: PreTrainedModel, length: int, init_std: float, source: NoiseSource, site: str) -> None:
        super().__init__()
        config, like = model.config, next(model.parameters()).detach()
        heads = config.num_attention_heads
        groups, width = getattr(config, "num_key_value_heads", heads), config.hidden_size // heads
        for part in ("key", "value"):
            drawn = source.normal(like.new_empty(length, groups * width), f"{site} {part}")
            rows = drawn.unflatten(1, (groups, width)).transpose(0, 1).contiguous()
            self.register_parameter(part, nn.Parameter(init_std * rows))


@register("prefix_tuning")
@dataclass(frozen=True)
class PrefixTuning(Method):
    r"""Prefix tuning: trains keys and values in front of those of the tokens in every layer, and nothing else.

    Every token attends to them as to other tokens. The encoder is frozen.

    Args:
        length: of the prefix in tokens; 16 in the released command of the unified view for GLUE.
        init_std: standard deviation with which keys and values start; 1 in peft and in P-tuning v2.

    Equation:
        \mathrm{softmax} \left( \frac{Q [P_K; K]^\top}{\sqrt{d}} \right) [P_V; V]

    Reference:
        Li and Liang 2021, *Prefix-Tuning: Optimizing Continuous Prompts for Generation*, ACL 2021,
        https://arxiv.org/abs/2101.00190; for encoders: Liu, Ji, Fu, Tam, Du, Yang and Tang 2022, *P-Tuning v2*, ACL
        2022, https://arxiv.org/abs/2110.07602; GLUE: jxhe/unify-parameter-efficient-tuning, commit 3222ce2

    Differences:
        Keys and values are trained themselves, as in P-tuning v2 and by default in peft; the first paper computes them
        by a two-layer network that is thrown away afterwards. peft hands them to a model as a cache of earlier tokens,
        which a packed row cannot take; here they stand inside of attention. Positions of tokens stay what they are.
        Dropout on attention acts on the prefix too. Not available where attention is no exchangeable function of
        transformers: XLNet, DeBERTa, ALBERT, MPNet, Longformer, CANINE. Published learning rates are 1e-3 to 1e-2 and
        epochs many: set `training.learning_rate`.

    Cost:
        One pass per update; about 0.3 % of the parameters have gradients and optimizer state; attention is to as many
        more tokens as the prefix has, and packed rows are padded for it.

    When it helps:
        P-tuning v2 reports the scores of full fine-tuning with large encoders; with little training it learns slowly.
    """

    unmerged = "prefix of keys and values"
    needs_every_token = True
    length: int = number(16, least=1)
    init_std: float = number(1.0, least=0)

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.TRAINED_ENTRIES})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS})

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)
        if model.config.model_type not in _MODELS:
            raise UserError(f"prefix_tuning is not available for {model.config.model_type}: its attention is its own")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, source = head_parameters(model), context.noise(_NAME)
        for index, layer in enumerate(encoder_layers(model)):
            module: Any = next(m for m in attention_block(layer).modules() if hasattr(m, "config"))
            module.config = copy(module.config)  # so that this module alone takes another function
            module.config._attn_implementation = _ATTENTION
            module.add_module(_NAME, _Prefix(model, self.length, self.init_std, source, f"layer {index}"))
        compute_every_token(model)  # also when the run is over: the top layer's shortcut knows no prefix
        train_only(model, context, lambda name, p: f".{_NAME}." in name or p in head)
        return Hooks()


AttentionInterface.register(_ATTENTION, _attention)
