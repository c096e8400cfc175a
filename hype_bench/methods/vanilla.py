"""Plain fine-tuning, and the control that the HyPe paper lacks: plain fine-tuning without hidden dropout."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from hype_bench.methods.base import Context, Method, Moments
from hype_bench.methods.dropout import set_hidden_dropout
from hype_bench.methods.registry import register
from hype_bench.options import number


@register("vanilla")
@dataclass(frozen=True)
class Vanilla(Method):
    """Fine-tuning with cross-entropy (or mean squared error) and nothing else; dropout as in the recipe."""


@register("no_dropout")
@dataclass(frozen=True)
class NoDropout(Method):
    """Vanilla with another hidden dropout, 0 by default; dropout on attention probabilities stays.

    Every HyPe number of the paper but one has hidden dropout 0 and every vanilla number 0.1 (section 4.2, Table 9):
    without this control, the effect of the noise and of the missing dropout cannot be told apart.
    """

    sets_dropout = True
    dropout: float = number(0.0, least=0, below=1)

    def prepare(self, model: PreTrainedModel, context: Context) -> Moments:
        context.cleanup.callback(set_hidden_dropout(model, self.dropout))
        return Moments()
