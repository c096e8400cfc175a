"""Plain fine-tuning, and the control that the HyPe paper lacks: plain fine-tuning without hidden dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import PreTrainedModel

from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.registry import register
from hype_bench.models.hidden_dropout import hidden_dropouts, set_dropout
from hype_bench.options import UserError, number


@register("vanilla")
@dataclass(frozen=True)
class Vanilla(Method):
    r"""Vanilla fine-tuning: plain fine-tuning, dropout as in the recipe.

    Fine-tuning with cross-entropy (or mean squared error) and nothing else; dropout as in the recipe.

    Equation:
        \min_\theta \; \frac{1}{N} \sum_i \ell(f_\theta(x_i), y_i)

    Reference:
        Devlin, Chang, Lee and Toutanova 2019, *BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding*, NAACL 2019, https://aclanthology.org/N19-1423

    Differences:
        None: cross-entropy, or mean squared error for a regression, is all there is.

    Cost:
        One pass an update.

    When it helps:
        The row that every other row is compared with.
    """

    neutral: ClassVar[Mapping[str, Any]] = {}


@register("no_dropout")
@dataclass(frozen=True)
class NoDropout(Method):
    r"""No dropout: vanilla with hidden dropout 0: the control that the HyPe paper lacks.

    Vanilla with another hidden dropout, 0 by default; dropout on attention probabilities stays.

    Every HyPe number of the paper but one has hidden dropout 0 and every vanilla number 0.1 (section 4.2, Table 9):
    without this control, the effect of the noise and of the missing dropout cannot be told apart.

    Args:
        dropout: hidden dropout.

    Equation:
        p_{\text{hidden}} = 0

    Reference:
        No paper of its own: a control for every technique that switches dropout off.

    Differences:
        Hidden dropout is what `--dropout_rate` of the released HyPe code sets: attention probabilities keep theirs in
        BERT, RoBERTa, ELECTRA and DeBERTa; in XLNet one value drives both. In every architecture it is what its own
        configuration calls so: `dropout` and `seq_classif_dropout` in DistilBERT, `embedding_dropout`, `mlp_dropout`
        and `classifier_dropout` in ModernBERT.

    Cost:
        One pass an update, a little less than vanilla.

    When it helps:
        Tells the effect of a technique from the effect of the dropout that it takes away.
    """

    dropout: float = number(0.0, least=0, below=1)

    @property
    def decides(self) -> frozenset[str]:
        return frozenset({"the hidden dropout"})

    def check(self, model: PreTrainedModel) -> None:
        if not hidden_dropouts(model):
            raise UserError(f"no_dropout would be vanilla: {model.config.model_type} has no hidden dropout")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        context.cleanup.callback(set_dropout(hidden_dropouts(model).values(), self.dropout))
        return Hooks()
