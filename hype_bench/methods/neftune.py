"""NEFTune (Jain et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, register
from hype_bench.contract.activations import change_output, current_segments
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments
from hype_bench.options import choice, number


def noise_bound(
    segments: Segments, like: Float[Tensor, "*positions width"], alpha: float, length: str
) -> Float[Tensor, "*positions 1"]:
    """``alpha / sqrt(L d)`` at every position; 0 at padding with ``length="own"``.

    Args:
        like: the embeddings; gives d, their width, and the dtype.
        length: ``padded``: L is the length of the padded batch, padding is noised too; ``own``: the example's own.

    Reference: Jain et al. 2024, "NEFTune: Noisy Embeddings Improve Instruction Finetuning", arXiv:2310.05914
    """
    lengths = segments.lengths if length == "own" else torch.full_like(segments.lengths, segments.padded_length)
    bound = segments.broadcast(alpha / (lengths * like.shape[-1]).to(like.dtype).sqrt())
    return bound * segments.mask.unsqueeze(-1) if length == "own" else bound


@register("neftune")
@dataclass(frozen=True)
class NEFTune(Method):
    r"""NEFTune: uniform noise on the word embeddings, in training.

    Args:
        alpha: magnitude of the noise; 5 in the main runs of the paper, which also has 10 and 15.
        length: sequence length L: `padded`, that of the batch, where padding is perturbed too; `own`, that of each
            example.

    Equation:
        e \leftarrow e + U(-1, 1) \cdot \frac{\alpha}{\sqrt{L d}}

    Reference:
        Jain, Chiang, Wen, Kirchenbauer, Chu, Somepalli, Bartoldson, Kailkhura, Schwarzschild, Saha, Goldblum, Geiping
        and Goldstein 2024, *NEFTune: Noisy Embeddings Improve Instruction Finetuning*, ICLR 2024,
        https://arxiv.org/abs/2310.05914; code: neelsjain/NEFTune, commit 09d4909

    Differences:
        There are two released forms. The README divides by the padded length and perturbs padding (`length=padded`, the
        default, as in the Hugging Face libraries). The experiments divide by the length of each example and leave
        padding alone (`length=own`). In a packed row the padded length is that of the longest example.

    Cost:
        One pass per update and one noise tensor.

    When it helps:
        Reported for instruction tuning of language models; no published result for encoders on GLUE is known here.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"alpha": 0.0}
    alpha: float = number(5.0, least=0)
    length: str = choice("padded", "padded", "own")

    acts_on = frozenset({Part.EMBEDDINGS})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.alpha == 0:
            return Hooks()
        source, segments = context.noise("neftune", model), current_segments(model, context)

        def noised(embedded: Tensor) -> Tensor:
            draw = 2 * source.uniform(embedded, "embedding") - 1
            return embedded + draw * noise_bound(segments(embedded), embedded, self.alpha, self.length)

        context.until_finish(change_output(word_embeddings(model), noised))
        return Hooks()
