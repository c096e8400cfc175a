"""SMART (Jiang et al., ACL 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Forward, Hooks, Loss, Method, Part, full, is_regression, register
from hype_bench.contract.activations import change_input
from hype_bench.contract.divergence import symmetric_divergence
from hype_bench.contract.passes import EqualPasses, dropout_masks
from hype_bench.models.layers import encoder_layers
from hype_bench.options import Affects, choice, number

_STABILISER = 1e-6


def climb(
    delta: Float[Tensor, "*positions width"],
    gradient: Float[Tensor, "*positions width"],
    step_size: float,
    radius: float,
    variant: str,
) -> Float[Tensor, "*positions width"]:
    """One ascent step on the perturbation.

    ``paper``: a step of ``step_size`` along the gradient, divided by its largest entry at each token, projected into
    the ball of that radius in the largest-entry norm. ``official``: the released code's
    ``normalise(delta + step_size * gradient)``, each token divided by its largest entry; no radius.

    Reference: Jiang et al. 2020, "SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models
    through Principled Regularized Optimization", arXiv:1911.03437
    """
    if variant == "official":
        moved = delta + step_size * gradient
        return moved / (moved.abs().amax(-1, keepdim=True) + _STABILISER)
    largest = gradient.abs().amax(-1, keepdim=True)
    direction = gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)
    return (delta + step_size * direction).clamp(-radius, radius)


def divergence(
    perturbed: Float[Tensor, "batch classes"], clean: Float[Tensor, "batch classes"], variant: str, of_numbers: bool
) -> Float[Tensor, ""]:
    """The smoothness term, a mean over the batch: symmetric KL, or mean squared difference of a regression.

    With ``official`` the target of each of the two KL terms is detached, as in the release.
    """
    if variant == "paper" or of_numbers:
        return symmetric_divergence(perturbed, clean, of_numbers)
    log_p, log_q = (F.log_softmax(full(z), -1) for z in (perturbed, clean))
    pairs = ((log_p, log_q.detach()), (log_q, log_p.detach()))
    return sum((F.kl_div(a, b, reduction="sum", log_target=True) for a, b in pairs), log_p.new_zeros(())) / len(clean)


def ascent_loss(
    perturbed: Float[Tensor, "batch classes"], clean: Float[Tensor, "batch classes"], variant: str, of_numbers: bool
) -> Float[Tensor, ""]:
    """What the perturbation climbs; the clean output is fixed.

    ``official``: ``2 p (r(p) - r(q))`` summed over classes and batch, p of the perturbed and q of the clean output, r
    the log-odds, which are detached; of a regression summed squares.
    """
    if variant == "paper":
        return divergence(perturbed, clean.detach(), variant, of_numbers)
    if of_numbers:
        return F.mse_loss(perturbed, clean.detach(), reduction="sum")
    p, q = full(perturbed).softmax(-1), full(clean.detach()).softmax(-1)
    return 2 * (p * (_log_odds(p.detach()) - _log_odds(q))).sum()


def _log_odds(p: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """As in the release, which keeps away from 0 and 1."""
    return -(1 / (p + _STABILISER) - 1 + _STABILISER).log()


@register("smart")
@dataclass(frozen=True)
class SMART(Method):
    r"""SMART: penalises the change of the output under an adversarial perturbation of the embeddings.

    The perturbation is added to the input of the lowest layer. Only the smoothness term is implemented.

    Args:
        weight: alpha, the weight of the smoothness term; 1 in the released command.
        radius: largest entry of the perturbation in the variant `paper`; 1e-5 in the paper. The variant `official` has
            no radius.
        steps: number of ascent steps.
        step_size: step size of the ascent; 1e-5 in the released command, 1e-3 in its class.
        init_std: standard deviation of the initial normal noise.
        variant: `paper`, projected ascent and gradients through both outputs; `official`, as in the released code.
        dropout_masks: `own`, each pass draws its own, as in the released code; `shared`, all have those of the clean
            pass.

    Equation:
        \ell(f(e), y) + \alpha \max_{\|\delta\|_\infty \le \epsilon} \left[ \mathrm{KL}(p_\delta \,\|\, p) +
        \mathrm{KL}(p \,\|\, p_\delta) \right]

    Reference:
        Jiang, He, Chen, Liu, Gao and Zhao 2020, *SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural
        Language Models through Principled Regularized Optimization*, ACL 2020, https://arxiv.org/abs/1911.03437; code:
        namisan/mt-dnn, commit 3228e7c

    Differences:
        The released code does not multiply the normalised direction by a radius: the largest entry of each token's
        perturbation is close to 1, five orders of magnitude outside of the paper's ball (`variant=official`). Its
        ascent climbs a summed difference of detached log-odds, and it detaches the targets of the final KL terms. The
        default is the paper's ball with an explicit radius; its step rule is from memory of the paper and not from
        code. Norms other than the largest entry crash in the released code and are not offered. The Bregman proximal
        term of the paper is missing from the release and from this implementation.

        As in the released code, each pass draws its own dropout masks. At the paper's radius of 1e-5 the term is
        therefore that of dropout alone, which is R-Drop without the second loss. Without dropout, or with shared masks
        (`dropout_masks=shared`), about a millionth of it is left (2e-10 with MiniLM), which float32 often rounds to 0.
        With `radius=0` and shared masks it is exactly 0.

    Cost:
        Two passes per update, and one more for each ascent step.

    When it helps:
        The paper reports gains on GLUE with BERT and RoBERTa.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    weight: float = number(1.0, least=0)
    radius: float = number(1e-5, least=0)
    steps: int = number(1, affects=Affects.NUMBERS | Affects.PACE, least=1, most=1_000)
    step_size: float = number(1e-3, above=0)
    init_std: float = number(1e-5, above=0)
    variant: str = choice("paper", "paper", "official")
    dropout_masks: str = choice("own", "own", "shared")

    acts_on = frozenset({Part.LAYER_INPUTS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.weight == 0 else Hooks.of(_Adversary(self, model, context))


class _Adversary:
    """The perturbation of what enters the lowest layer."""

    def __init__(self, method: SMART, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.source, self.compared = context.noise("smart", model), EqualPasses("smart", context)
        self.delta, self.clean = context.flag(torch.zeros(0)), context.flag(False)
        self.entered = torch.zeros(0)  # what enters the lowest layer in the clean pass
        context.until_finish(change_input(encoder_layers(model)[0], self._perturbed))

    def _perturbed(self, entering: Tensor) -> Tensor | None:
        if self.clean.value:
            self.entered = entering.detach()
        return entering + self.delta.value if len(self.delta.value) else None

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.model.training:
            return inner(batch, forward)
        method, of_numbers = self.method, is_regression(batch["labels"])
        masks = dropout_masks(method.dropout_masks, self.model, self.context)
        with self.clean.set(True):
            task, output = inner(batch, forward)
        clean = output.logits
        delta = method.init_std * self.source.normal(self.entered, "delta")
        for _ in range(method.steps):
            delta.requires_grad_()
            with masks(), self.delta.set(delta):
                climbed = ascent_loss(forward(batch).logits, clean, method.variant, of_numbers)
            gradient = self.context.gradient(climbed, delta)
            delta = climb(delta.detach(), gradient, method.step_size, method.radius, method.variant)
        with masks(), self.delta.set(delta):
            perturbed = forward(batch).logits
        added = divergence(perturbed, clean, method.variant, of_numbers)
        return task + method.weight * self.compared.watch(added), output
