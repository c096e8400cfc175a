"""Embedding dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, change_output, number, register


@register("embedding_dropout")
@dataclass(frozen=True)
class EmbeddingDropout(Method):
    r"""Embedding dropout: in training, whole dimensions of the word embeddings are zero.

    All tokens of all examples share the mask of a pass.

    Args:
        p: the probability that a dimension is dropped.

    Equation:
        e \leftarrow e \odot M / (1 - p), \quad M \sim \mathrm{Bernoulli}(1 - p)

    Reference:
        After the spatial dropout of Tompson, Goroshin, Jain, LeCun and Bregler 2015, *Efficient object localization
        using convolutional networks*, CVPR 2015, https://arxiv.org/abs/1411.4280

    Differences:
        There each example has a mask of its own, here the batch has one.

    Cost:
        One pass per update.

    When it helps:
        To see what a technique looks like.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"p": 0.0}
    p: float = number(0.1, least=0, below=1)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        source = context.noise("embedding_dropout", model)  # randomness of its own: seeds stay paired

        def drop(embedded: Tensor) -> Tensor | None:
            keep = source.keep(embedded[0, 0].detach(), 1 - self.p, "mask")
            return None if keep is None else embedded * keep

        context.until_finish(change_output(model.get_input_embeddings(), drop))  # in training only
        return Hooks()
