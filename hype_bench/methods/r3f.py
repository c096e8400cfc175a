"""R3F: a clean pass and one with noise on the word embeddings, drawn together (Aghajanyan et al., ICLR 2021)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.methods.base import Forward, Loss, Method, Moments, with_logits
from hype_bench.methods.context import Batch, Context, NoiseSource
from hype_bench.methods.hype import perturb
from hype_bench.methods.r_drop import consistency
from hype_bench.methods.registry import register
from hype_bench.options import choice, number


def embedding_noise(embedded: Tensor, draw: Tensor, scale: float, distribution: str) -> Tensor:
    """``detach(e) + z`` with z from N(0, scale^2) or U(-scale, scale): the embedding table gets no gradient from it.

    Args:
        embedded: looked-up word embeddings, any shape, before positions and LayerNorm.
        draw: same shape; N(0, 1), or U[0, 1) for ``distribution="uniform"``.

    Reference: Aghajanyan et al. 2021, "Better Fine-Tuning by Reducing Representational Collapse", arXiv:2008.03156
    """
    return perturb(embedded.detach(), draw, scale, distribution)


@register("r3f")
@dataclass(frozen=True)
class R3F(Method):
    """``loss(clean) + weight * (KL(clean || noised) + KL(noised || clean))``, per sample, without a factor 1/2.

    A regression takes the mean squared difference of the two outputs instead, as HyPe does for STS-B (Appendix D.1);
    the released R3F leaves the regulariser out there. Hidden noise of other techniques (HyPe) acts in the noised pass
    only (HyPe, Appendix D.2). Two forward passes an update; gradients flow through both.

    Args:
        scale: standard deviation or half-width; 1e-5 in the released code.
        distribution: ``uniform`` is the released code's default; HyPe's Table 15 uses ``normal``.
        weight: lambda; 1.0 in the released code, {0.1, 0.5, 1.0} in HyPe's Table 15.
    """

    scale: float = number(1e-5, least=0)
    distribution: str = choice("uniform", "normal", "uniform")
    weight: float = number(1.0, least=0)

    def prepare(self, model: PreTrainedModel, context: Context) -> Moments:
        source = context.noise("r3f", model)
        embedding = model.get_input_embeddings()

        def loss(batch: Batch, forward: Forward, inner: Loss) -> Tensor:
            with context.without_hidden_noise():
                task, clean = with_logits(inner, batch, forward)
            with self.noised(embedding, source):
                noised = forward(batch).logits
            is_regression = batch["labels"].is_floating_point()
            factor = 1 if is_regression else 2  # R-Drop's consistency has the 1/2 that R3F has not
            return task + self.weight * factor * consistency(clean, noised, "paper", is_regression)

        return Moments(loss=loss)

    @contextlib.contextmanager
    def noised(self, embedding: nn.Module, source: NoiseSource) -> Iterator[None]:
        def add(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
            draw = source.draw(embedded, "embedding", self.distribution)
            return embedding_noise(embedded, draw, self.scale, self.distribution)

        handle = embedding.register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()
