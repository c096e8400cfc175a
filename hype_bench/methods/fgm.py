"""FGM (Miyato et al., ICLR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, choice, full, number, register
from hype_bench.contract.ascent import Climb, unit
from hype_bench.contract.moved_weights import moved
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments


def table_step(gradient: Tensor, radius: float) -> Tensor:
    """``radius * g / ||g||`` over the whole table of word embeddings."""
    return gradient.mul(radius / gradient.norm().clamp_min(1e-12))


@register("fgm")
@dataclass(frozen=True)
class FGM(Method):
    r"""FGM: adds the loss under one adversarial step on the word embeddings.

    The gradients of both passes are added up. Both share their dropout masks.

    Args:
        radius: length of the step: 5 in the released code, for embeddings of zero mean and unit variance; 1 is what
            practice takes.
        perturbs: `lookups`, the looked-up embeddings, whose step has this length in every example; `table`, the table
            itself, whose rows share one step, as in the snippet that is widely used.

    Equation:
        \ell(e) + \ell(e + r), \quad r = \epsilon \, \frac{\nabla_e \ell}{\|\nabla_e \ell\|_2}

    Reference:
        Miyato, Dai and Goodfellow 2017, *Adversarial Training Methods for Semi-Supervised Text Classification*, ICLR
        2017, https://arxiv.org/abs/1605.07725; code: tensorflow/models, commit 6ddfb3f, research/adversarial_text

    Differences:
        The released code normalises its embeddings over the vocabulary, to which its radius of 5 refers; a row of a
        pre-trained encoder has a norm of about 1.4, hence 1 here. The widely used snippet moves the table instead, so
        that a token that occurs often takes most of the step (`perturbs=table`). Neither says whether the passes share
        their dropout masks; here they do.

    Cost:
        Two passes per update.

    When it helps:
        The paper reports gains for LSTMs on sentiment; it is the baseline of FreeLB and SMART.
    """

    radius: float = number(1.0, least=0)
    perturbs: str = choice("lookups", "lookups", "table")

    acts_on = frozenset({Part.EMBEDDINGS, Part.LOSS, Part.BACKWARD})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.perturbs == "table":
            return Hooks(backward=_OfTheTable(self.radius, model, context).backward)

        def step(delta: Tensor, gradient: Tensor, segments: Segments) -> Tensor:
            return self.radius * unit(gradient, segments)

        climb = Climb(model, context, lambda embedded, segments: torch.zeros_like(full(embedded)), step)

        def backward(micro_batches: list[Batch], inner: Backward) -> Tensor:
            replayed = context.rng_snapshot(model)
            with climb.climbing():
                loss = inner(micro_batches)
                climb.ascend()
                with replayed():
                    return loss + inner(micro_batches)

        return Hooks(loss=climb.loss, backward=backward)


class _OfTheTable:
    """The second pass meets a table of word embeddings that has moved."""

    def __init__(self, radius: float, model: PreTrainedModel, context: Context) -> None:
        self.radius, self.model, self.context = radius, model, context

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        table: Any = word_embeddings(self.model)
        earlier, replayed = table.weight.grad, self.context.rng_snapshot(self.model)
        before = None if earlier is None else earlier.clone()
        loss = inner(micro_batches)
        gradient = table.weight.grad
        if gradient is None:
            self.context.warn("fgm.perturbs=table does nothing here: the word embeddings are not trained")
            return loss
        step = table_step(gradient if before is None else gradient - before, self.radius)
        with moved([table.weight], [step]), replayed():
            return loss + inner(micro_batches)
