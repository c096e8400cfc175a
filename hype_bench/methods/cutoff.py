"""Cutoff (Shen et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import (
    Batch,
    Context,
    Forward,
    Hooks,
    Loss,
    Method,
    Part,
    choice,
    full,
    is_regression,
    number,
    register,
)
from hype_bench.contract.activations import change_input, change_output
from hype_bench.contract.special_tokens import is_one_of, mask_token, special_tokens
from hype_bench.models.layers import encoder_layers, word_embeddings
from hype_bench.models.unpacking import as_padded
from hype_bench.options import UserError, flag


def cut_positions(
    draw: Float[Tensor, "batch length"], mask: Bool[Tensor, "batch length"], ratio: float, form: str
) -> Bool[Tensor, "batch length"]:
    """True at the tokens that are cut: ``int(tokens * ratio)`` of each example.

    Args:
        draw: U[0, 1); a ``span`` starts where the first of a row says, ``token`` takes as many as are cut.
        mask: True at tokens, False at padding.

    Reference: Shen et al. 2020, "A Simple but Tough-to-Beat Data Augmentation Approach for Natural Language
    Understanding and Generation", arXiv:2009.13818
    """
    lengths = mask.sum(1, keepdim=True)
    counts = (lengths * ratio).long()
    ranks = (mask.cumsum(1) - 1).masked_fill(~mask, -1)
    if form == "span":
        starts = (draw[:, :1] * (lengths - counts)).long()
        return (ranks >= starts) & (ranks < starts + counts)
    chosen = (draw * lengths).long().masked_fill(torch.arange(draw.shape[1], device=draw.device) >= counts, -2)
    return (ranks[:, :, None] == chosen[:, None, :]).any(-1)


def cut_features(draw: Float[Tensor, "batch count"], width: int) -> Bool[Tensor, "batch width"]:
    """True at the entries that are cut for all tokens of an example, drawn with replacement."""
    chosen: Int[Tensor, "batch count"] = (draw * width).long()
    return torch.zeros(len(draw), width, dtype=torch.bool, device=draw.device).scatter(1, chosen, True)


def consistency(
    clean: Float[Tensor, "batch classes"], cut: Float[Tensor, "batch classes"], divergence: str, of_numbers: bool
) -> Float[Tensor, ""]:
    """The Jensen-Shannon divergence of two outputs, a mean over the batch; ``official`` with the arguments of its KL
    terms exchanged, as released. Of a regression the mean squared difference."""
    if of_numbers:
        return F.mse_loss(clean, cut)
    log_p, log_q = (F.log_softmax(full(z), -1) for z in (clean, cut))
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    pairs = [(log_m, log_p), (log_m, log_q)] if divergence == "jensen_shannon" else [(log_p, log_m), (log_q, log_m)]
    return sum((F.kl_div(a, b, reduction="batchmean", log_target=True) for a, b in pairs), log_p.new_zeros(())) / 2


@register("cutoff")
@dataclass(frozen=True)
class Cutoff(Method):
    r"""Cutoff: a second pass without a part of the input, whose output should be right and the same.

    A span of the tokens, single tokens, or entries of the embeddings are set to zero behind the embeddings; tokens that
    are cut are not attended to.

    Args:
        form: `span`, `token` or `feature`.
        replace: what is in the place of tokens that are cut: `zero`; `mask`, the tokenizer's mask token, which is
            attended to.
        spare_special: whether [CLS], [SEP] and the like are never cut; they do not count then.
        ratio: of the tokens, or of the entries, that are cut.
        weight: a, of the task's loss of the second pass.
        consistency: b, of the divergence of the two outputs.
        divergence: `jensen_shannon`, as the paper says; `official`, as the released code computes it.

    Equation:
        \ell(p) + a \, \ell(q) + b \, \mathrm{JS}(p, q), \quad p = f(e), \; q = f(\mathrm{cut}(e))

    Reference:
        Shen, Zheng, Shen, Qu and Chen 2020, *A Simple but Tough-to-Beat Data Augmentation Approach for Natural Language
        Understanding and Generation*, https://arxiv.org/abs/2009.13818; code: dinghanshen/Cutoff, commit 4978563

    Differences:
        The divergence of the released code has the arguments of its KL terms exchanged. Its token form cannot run as
        released; here its loss is that of the other two. [CLS] and [SEP] may be cut, as released, unless
        `spare_special`: with 20 tokens and ratio 0.3 the token form hits [CLS] in 26 % of the examples. Where an input
        is so short that nothing is cut, the second pass differs by dropout alone. Packed rows are padded for the second
        pass. For a regression the mean squared difference of the outputs. The released command has a learning rate of
        5e-6 and 10 epochs.

    Cost:
        Two passes per update.

    Control:
        vanilla with 2 times the epochs: the second pass over every batch.

    When it helps:
        The paper reports gains on GLUE with RoBERTa, and on translation.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0, "consistency": 0.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"ratio": 0.3}
    form: str = choice("span", "span", "token", "feature")
    replace: str = choice("zero", "zero", "mask", added_later=True)
    spare_special: bool = flag(added_later=True)
    ratio: float = number(0.1, least=0, most=1)
    weight: float = number(1.0, least=0)
    consistency: float = number(1.0, least=0)
    divergence: str = choice("jensen_shannon", "jensen_shannon", "official")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "feature" and (self.replace == "mask" or self.spare_special):
            raise ValueError("form=feature cuts entries of all tokens: replace=mask and spare_special are of tokens")

    acts_on = frozenset({Part.EMBEDDINGS, Part.LAYER_INPUTS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)
        word_embeddings(model)
        if getattr(model.config, "attention_window", None):
            raise UserError(f"cutoff is not available for {model.config.model_type}: it pads texts to its window")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(loss=_TwoPasses(self, model, context).loss) if self.weight or self.consistency else Hooks()


class _TwoPasses:
    """A clean pass and one in which a part of the embeddings is zero."""

    def __init__(self, method: Cutoff, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.source = context.noise("cutoff", model)
        self._table: Any = word_embeddings(model)
        self.hidden = mask_token("cutoff", context) if method.replace == "mask" else None
        self.special = special_tokens("cutoff", context) if method.spare_special else []
        self.cut = context.flag(torch.zeros(0))  # (batch, length or 1, width or 1), True where the second pass has 0
        embeddings = getattr(model.base_model, "embeddings", None)
        if isinstance(embeddings, nn.Module) and not isinstance(embeddings, nn.Embedding):
            handle = change_output(embeddings, self._without)
        else:
            handle = change_input(encoder_layers(model)[0], self._without)
        context.until_finish(handle)

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.model.training:
            return inner(batch, forward)
        method = self.method
        task, clean = inner(batch, forward)
        padded = as_padded(batch, self.model)
        ids = padded["input_ids"]
        if ids.dim() > 2:
            raise UserError("cutoff cuts one text an example: it is not available for multiple choice")
        mask = padded.get("attention_mask", torch.ones_like(ids)).bool()
        if method.form == "feature":
            width = int(self._table.weight.shape[1])
            draw = self.source.uniform(torch.empty(len(ids), int(width * method.ratio), device=ids.device), "entries")
            cut = cut_features(draw, width)[:, None]
        else:
            draw = self.source.uniform(torch.empty(ids.shape, device=ids.device), "positions")
            positions = cut_positions(draw, mask & ~is_one_of(ids, self.special), method.ratio, method.form)
            if self.hidden is None:
                padded["attention_mask"] = (mask & ~positions).long()
                cut = positions[..., None]
            else:
                padded["input_ids"], cut = torch.where(positions, self.hidden, ids), torch.zeros(0)
        with self.cut.set(cut):
            second, output = inner(padded, forward)
        added = consistency(clean.logits, output.logits, method.divergence, is_regression(batch["labels"]))
        return task + method.weight * second + method.consistency * added, clean

    def _without(self, embedded: Tensor) -> Tensor | None:
        cut = self.cut.value
        if not len(cut):
            return None
        return embedded.masked_fill(cut.transpose(0, 1) if self.model.config.model_type == "xlnet" else cut, 0.0)
