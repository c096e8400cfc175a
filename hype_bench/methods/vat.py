"""Virtual adversarial training (Miyato et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
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
from hype_bench.contract.activations import change_output, current_segments
from hype_bench.contract.ascent import unit
from hype_bench.contract.passes import EqualPasses, dropout_masks
from hype_bench.models.layers import word_embeddings
from hype_bench.options import Affects


def distance(
    clean: Float[Tensor, "batch classes"], perturbed: Float[Tensor, "batch classes"], of_numbers: bool
) -> Float[Tensor, ""]:
    """``KL(clean || perturbed)``, a mean over the batch; of a regression the mean squared difference.

    Args:
        clean: logits without gradient.

    Reference: Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification",
    arXiv:1605.07725
    """
    if of_numbers:
        return F.mse_loss(perturbed, clean)
    log_p, log_q = (F.log_softmax(full(z), -1) for z in (clean, perturbed))
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@register("vat")
@dataclass(frozen=True)
class VAT(Method):
    r"""VAT: penalises the change of the output under the perturbation of the embeddings that changes it most.

    The direction comes from the gradient of the divergence at a small random perturbation; labels play no part in it.

    Args:
        weight: of the term.
        radius: epsilon, the length of the perturbation in every example; 5 in the released code, see below.
        xi: length of the random perturbation at which the gradient is taken.
        steps: power iterations.
        dropout_masks: `shared`, all passes have those of the clean pass; `own`, each draws its own, as released.

    Equation:
        \ell + \lambda \, \mathrm{KL}(p(e) \,\|\, p(e + r)), \quad r = \epsilon \frac{g}{\|g\|}, \quad g = \nabla_d
        \mathrm{KL}(p(e) \,\|\, p(e + d)) \Big|_{d = \xi d_0 / \|d_0\|}, \; d_0 \sim N(0, I)

    Reference:
        Miyato, Maeda, Koyama and Ishii 2017, *Virtual Adversarial Training*, https://arxiv.org/abs/1704.03976; on text:
        Miyato, Dai and Goodfellow 2017, https://arxiv.org/abs/1605.07725, code: tensorflow/models, commit 6ddfb3f,
        research/adversarial_text

    Differences:
        The released radius of 5 refers to embeddings of zero mean and unit variance; a row of a pre-trained encoder has
        a norm of about 1.4, so that the default is 1. As released, the random start spares the last token of each
        example and the clean output has no gradient. The released code draws new dropout masks in every pass, with
        which the first gradient is mostly that of dropout; here they are shared by default. The hidden noise of HyPe
        acts in the perturbed pass only. For a regression, of which the paper has none, the mean squared difference.

    Cost:
        Two passes per update, and one more for each power iteration.

    When it helps:
        Reported for semi-supervised text classification; here without unlabelled texts. SMART is its descendant.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    weight: float = number(1.0, least=0)
    radius: float = number(1.0, least=0)
    xi: float = number(0.1, above=0)
    steps: int = number(1, affects=Affects.NUMBERS | Affects.PACE, least=1, most=1_000)
    dropout_masks: str = choice("shared", "shared", "own")

    acts_on = frozenset({Part.EMBEDDINGS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.weight == 0 else Hooks.of(_Adversary(self, model, context))


class _Adversary:
    """The perturbation of the looked-up word embeddings."""

    def __init__(self, method: VAT, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.segments, self.source = current_segments(model, context), context.noise("vat", model)
        self.compared = EqualPasses("vat", context)
        self.delta, self.is_clean = context.flag(torch.zeros(0)), context.flag(False)
        self.embedded = torch.zeros(0)  # of the clean pass
        context.until_finish(change_output(word_embeddings(model), self._perturbed))

    def _perturbed(self, embedded: Tensor) -> Tensor | None:
        if self.is_clean.value:
            self.embedded = embedded.detach()
        return embedded + self.delta.value.to(embedded.dtype) if len(self.delta.value) else None

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.model.training:
            return inner(batch, forward)
        method, of_numbers = self.method, is_regression(batch["labels"])
        masks = dropout_masks(method.dropout_masks, self.model, self.context)
        with self.context.hidden_noise.set(False), self.is_clean.set(True):
            task, output = inner(batch, forward)
        clean, segments = output.logits.detach(), self.segments(self.embedded)
        spared = (segments.mask & ~segments.last).unsqueeze(-1)
        delta = self.source.normal(full(self.embedded), "delta") * spared
        for _ in range(method.steps):
            probe = (method.xi * unit(delta, segments)).requires_grad_()
            with masks(), self.context.hidden_noise.set(False), self.delta.set(probe):
                probed = distance(clean, forward(batch).logits, of_numbers)
            delta = self.context.gradient(probed, probe)
        with masks(), self.delta.set(method.radius * unit(delta, segments)):
            added = distance(clean, forward(batch).logits, of_numbers)
        return task + method.weight * self.compared.watch(added), output
