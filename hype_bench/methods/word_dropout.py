"""Word dropout (Iyyer et al., ACL 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, choice, number, register
from hype_bench.contract.activations import change_output, current_segments
from hype_bench.contract.special_tokens import mask_token
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments


def kept_words(
    draw: Float[Tensor, "*positions"], segments: Segments, p: float, spare_ends: bool
) -> Bool[Tensor, "*positions"]:
    """True where the word stays: at draws of at least ``p``, and at the ends of an example if they are spared.

    Args:
        draw: U[0, 1).

    Reference: Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification",
    https://aclanthology.org/P15-1162
    """
    kept = draw >= p
    return kept | segments.first | segments.last if spare_ends else kept


@register("word_dropout")
@dataclass(frozen=True)
class WordDropout(Method):
    r"""Word dropout: in training the word embeddings of some tokens are zero.

    Position and segment of the token stay, so that the encoder meets a word that it does not know.

    Args:
        p: the probability that a token is dropped; 0.3 in the paper, whose model averages words.
        replace: by what, `zero` or `mask`, the embedding of the tokenizer's mask token.
        spare_ends: whether the first and the last token of an example, [CLS] and [SEP], always stay.

    Equation:
        e_t \leftarrow m_t \, e_t, \quad m_t \sim \mathrm{Bernoulli}(1 - p)

    Reference:
        Iyyer, Manjunatha, Boyd-Graber and Daumé III 2015, *Deep Unordered Composition Rivals Syntactic Methods for Text
        Classification*, ACL 2015, https://aclanthology.org/P15-1162; code: miyyer/dan

    Differences:
        The paper leaves dropped words out of an average. Here their place is kept, as attention needs it, and nothing
        is scaled up. Its 0.3 takes much from a sentence whose words an encoder relates to each other; the default of
        0.1 is a choice of this project. A separator between two sentences is a token like others. A masked word is one
        that pre-training has met, where the encoder was pre-trained to fill in words.

    Cost:
        One pass per update.

    When it helps:
        Reported for averages of word vectors; later work masks words to similar effect.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"p": 0.0}
    p: float = number(0.1, least=0, below=1)
    replace: str = choice("zero", "zero", "mask", added_later=True)
    spare_ends: bool = True

    acts_on = frozenset({Part.EMBEDDINGS})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.p == 0:
            return Hooks()
        source, segments = context.noise("word_dropout", model), current_segments(model, context)
        table: Any = word_embeddings(model)
        hidden = mask_token("word_dropout", context) if self.replace == "mask" else None

        def drop(embedded: Tensor) -> Tensor:
            current = segments(embedded)
            draw = source.uniform(embedded[..., :1].detach(), "words").squeeze(-1)
            kept = kept_words(draw, current, self.p, self.spare_ends).unsqueeze(-1)
            return embedded * kept if hidden is None else torch.where(kept, embedded, table.weight[hidden])

        context.until_finish(change_output(table, drop))
        return Hooks()
