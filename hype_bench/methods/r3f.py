"""R3F and R4F (Aghajanyan et al., ICLR 2021)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from transformers import PreTrainedModel

from hype_bench.contract import (
    Batch,
    Context,
    Exclusive,
    Forward,
    Hooks,
    Loss,
    Method,
    Part,
    Weights,
    is_regression,
    register,
)
from hype_bench.contract.activations import change_output
from hype_bench.contract.divergence import symmetric_divergence
from hype_bench.contract.passes import EqualPasses, dropout_masks
from hype_bench.contract.perturbation import perturb
from hype_bench.models.layers import output_projection, word_embeddings
from hype_bench.options import choice, number


def embedding_noise(
    embedded: Float[Tensor, "*shape"], draw: Float[Tensor, "*shape"], scale: float, distribution: str
) -> Float[Tensor, "*shape"]:
    """``detach(e) + z`` with z from N(0, scale^2) or U(-scale, scale): the embedding table gets no gradient from it.

    Args:
        embedded: looked-up word embeddings, before positions and LayerNorm.
        draw: N(0, 1), or U[0, 1) for ``distribution="uniform"``.

    Reference: Aghajanyan et al. 2021, "Better Fine-Tuning by Reducing Representational Collapse", arXiv:2008.03156
    """
    return perturb(embedded.detach(), draw, scale, distribution)


@register("r3f")
@dataclass(frozen=True)
class R3F(Method):
    r"""R3F: penalises the divergence between a clean pass and one with noise on the word embeddings.

    The divergence is symmetric, per example and without a factor 1/2; gradients flow through both passes. For a
    regression it is the mean squared difference of the outputs, as in HyPe for STS-B (Appendix D.1). The hidden noise
    of HyPe acts in the noised pass only (HyPe, Appendix D.2).

    Args:
        scale: standard deviation or half-width of the noise; 1e-5 in the released code.
        distribution: `uniform` is the default of the released code; HyPe's Table 15 has `normal`.
        weight: lambda; 1.0 in the released code, {0.1, 0.5, 1.0} in HyPe's Table 15.
        dropout_masks: `own`, each pass draws its own, as in the released code; `shared`, both have the same.

    Equation:
        \ell(p) + \lambda \left[ \mathrm{KL}(p \,\|\, q) + \mathrm{KL}(q \,\|\, p) \right], \quad p = f(e), \; q = f(e +
        z), \; z \sim N(0, \sigma^2) \text{ or } U(-\sigma, \sigma)

    Reference:
        Aghajanyan, Shrivastava, Gupta, Goyal, Zettlemoyer and Gupta 2021, *Better Fine-Tuning by Reducing
        Representational Collapse*, ICLR 2021, https://arxiv.org/abs/2008.03156; code: facebookresearch/fairseq, commit
        3d262bb, examples/rxf

    Differences:
        As in the released criterion for classification, the noise is added to the looked-up embeddings, the noised pass
        does not train the embeddings, and cross-entropy is computed on the clean pass only. The released code has no
        penalty for a regression. The grids of the paper were not found. As in the released code, each pass draws its
        own dropout masks: with dropout on, `scale=0` leaves the divergence that dropout causes; with shared masks
        (`dropout_masks=shared`) it leaves 0.

    Cost:
        Two passes per update.

    When it helps:
        Reported on GLUE and summarisation. At the published scale of 1e-5 it is R-Drop without the second loss: the two
        passes differ by dropout far more than by the noise.
    """

    neutral: ClassVar[Mapping[str, Any] | None] = {"weight": 0.0}
    scale: float = number(1e-5, least=0)
    distribution: str = choice("uniform", "normal", "uniform")
    weight: float = number(1.0, least=0)
    dropout_masks: str = choice("own", "own", "shared")

    exclusive = frozenset({Exclusive.NOISED_PASS})
    acts_on = frozenset({Part.LOSS})

    @property
    def capturable(self) -> bool:
        return self.dropout_masks == "own"  # shared ones are drawn again from a saved state

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.weight == 0 else Hooks.of(_TwoPasses(self, model, context))


class _TwoPasses:
    """A clean pass and one with noise on the word embeddings."""

    def __init__(self, method: R3F, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.embedding, self.source = word_embeddings(model), context.noise("r3f", model)
        self.compared = EqualPasses(type(method).__name__.lower(), context)

    def _noised(self, embedded: Tensor) -> Tensor:
        draw = self.source.draw(embedded, "embedding", self.method.distribution)
        return embedding_noise(embedded, draw, self.method.scale, self.method.distribution)

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        masks = dropout_masks(self.method.dropout_masks, self.model, self.context)
        with self.context.hidden_noise.set(False):
            task, clean = inner(batch, forward)
        with masks(), change_output(self.embedding, self._noised):
            noised = forward(batch)
        added = symmetric_divergence(clean.logits, noised.logits, is_regression(batch["labels"]))
        return task + self.method.weight * self.compared.watch(added), clean


@register("r4f")
@dataclass(frozen=True)
class R4F(R3F):
    r"""R4F: R3F with spectral normalisation of the head's output projection.

    In every pass the output projection is divided by its largest singular value, which is estimated by one power
    iteration per training pass. At the end a plain, normalised weight is left.

    Args:
        scale, distribution, weight, dropout_masks: as in R3F.

    Equation:
        \ell(p) + \lambda \left[ \mathrm{KL}(p \,\|\, q) + \mathrm{KL}(q \,\|\, p) \right], \quad p = f(e), \; q = f(e +
        z), \; z \sim N(0, \sigma^2) \text{ or } U(-\sigma, \sigma), \quad W_{\text{head}} \leftarrow W_{\text{head}} /
        \sigma_{\max}(W_{\text{head}})

    Reference:
        Aghajanyan, Shrivastava, Gupta, Goyal, Zettlemoyer and Gupta 2021, *Better Fine-Tuning by Reducing
        Representational Collapse*, ICLR 2021, https://arxiv.org/abs/2008.03156; code: facebookresearch/fairseq, commit
        3d262bb, examples/rxf

    Differences:
        As R3F. Only the output projection is normalised, as by the released flag `--spectral-norm-classification-head`.
        The current torch implementation starts with 15 power iterations, the one of the release with a random vector.
        With `scale=0` and shared dropout masks, what is left of the divergence is due to two different estimates of the
        largest singular value.

    Cost:
        Two passes per update.

    When it helps:
        The paper reports scores close to those of R3F, and better ones on some tasks.
    """

    neutral = None

    exclusive = R3F.exclusive | {Exclusive.OUTPUT_PROJECTION}
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.LINEAR_MAPS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        super().check(model)
        output_projection(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        projection = output_projection(model)
        with context.own_randomness("r4f", model):
            parametrizations.spectral_norm(projection)
        context.cleanup.callback(_make_plain, projection)
        return replace(super().prepare(model, context), plain_weights=partial(_normalised, model, projection))


def _normalised(model: nn.Module, projection: nn.Linear, weights: Weights) -> Weights:
    """With the weight that :func:`_make_plain` would leave."""
    name = next(name for name, module in model.named_modules() if module is projection)
    kept = {key: value for key, value in weights.items() if not key.startswith(f"{name}.parametrizations.")}
    with _unmoved(projection):
        return kept | {f"{name}.weight": projection.weight.detach().clone()}


def _make_plain(projection: nn.Linear) -> None:
    with _unmoved(projection):
        parametrize.remove_parametrizations(projection, "weight", leave_parametrized=True)
    projection._parameters["bias"] = projection._parameters.pop("bias")  # weight before bias, as it was


@contextlib.contextmanager
def _unmoved(projection: nn.Linear) -> Iterator[None]:
    """In training mode, asking for the weight would move the estimate of the singular value on."""
    was_training = projection.training
    projection.eval()
    yield
    projection.train(was_training)
