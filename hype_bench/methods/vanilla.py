"""Vanilla fine-tuning, with hidden dropout and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.models.hidden_dropout import hidden_dropouts, set_dropout
from hype_bench.options import UserError, number


@register("vanilla")
@dataclass(frozen=True)
class Vanilla(Method):
    r"""Vanilla fine-tuning: plain fine-tuning with the dropout of the recipe.

    The loss is cross-entropy, or mean squared error for a regression.

    Equation:
        \min_\theta \; \frac{1}{N} \sum_i \ell(f_\theta(x_i), y_i)

    Reference:
        Devlin, Chang, Lee and Toutanova 2019, *BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding*, NAACL 2019, https://aclanthology.org/N19-1423

    Differences:
        None.

    Cost:
        One pass per update.

    When it helps:
        The baseline with which all other techniques are compared.
    """

    neutral: ClassVar[Mapping[str, Any]] = {}

    acts_on = frozenset[Part]()
    capturable = True


@register("no_dropout")
@dataclass(frozen=True)
class NoDropout(Method):
    r"""No dropout: vanilla with hidden dropout 0, the control that the HyPe paper lacks.

    All HyPe numbers of the paper but one have hidden dropout 0, and all vanilla numbers 0.1 (section 4.2, Table 9).
    Only this control separates the effect of the noise from that of the missing dropout. Dropout on attention
    probabilities is unchanged.

    Args:
        dropout: hidden dropout.

    Equation:
        p_{\text{hidden}} = 0

    Reference:
        No paper of its own: a control for every technique that switches dropout off.

    Differences:
        Hidden dropout is what the flag `--dropout_rate` of the released HyPe code sets. In BERT, RoBERTa, ELECTRA and
        DeBERTa, dropout on attention probabilities is separate; in XLNet one value sets both. Other architectures have
        their own names for it: `dropout` and `seq_classif_dropout` in DistilBERT, `embedding_dropout`, `mlp_dropout`
        and `classifier_dropout` in ModernBERT.

    Cost:
        One pass per update, slightly less than vanilla.

    When it helps:
        To separate the effect of a technique from that of the dropout that it switches off.
    """

    dropout: float = number(0.0, least=0, below=1)

    exclusive = frozenset({Exclusive.HIDDEN_DROPOUT})
    acts_on = frozenset({Part.DROPOUT})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        if not hidden_dropouts(model):
            raise UserError(f"no_dropout would be vanilla: {model.config.model_type} has no hidden dropout")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        context.cleanup.callback(set_dropout(hidden_dropouts(model).values(), self.dropout))
        return Hooks()
