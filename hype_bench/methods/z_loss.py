"""Z-loss in both of its meanings (de Brebisson and Vincent 2016; Chowdhery et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
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
    UserError,
    choice,
    full,
    is_regression,
    number,
    register,
)


def log_z_penalty(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """Mean over the batch of ``(log sum exp z)^2``.

    Reference: Chowdhery et al. 2022, "PaLM: Scaling Language Modeling with Pathways", arXiv:2204.02311
    """
    return full(logits).logsumexp(-1).square().mean()


def spherical_loss(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], a: float, b: float
) -> Float[Tensor, ""]:
    """Mean of ``softplus(a (b - z_y)) / a``, with the logits of each example standardised over its classes.

    Reference: de Brebisson and Vincent 2016, "The Z-loss: a shift and scale invariant classification loss belonging to
    the Spherical Family", arXiv:1604.08859
    """
    z = (logits - logits.mean(-1, keepdim=True)) / logits.std(-1, keepdim=True, correction=0)
    return F.softplus(a * (b - z.gather(-1, labels[:, None]))).mean() / a


@register("z_loss")
@dataclass(frozen=True)
class ZLoss(Method):
    r"""Z-loss: keeps the normaliser of the softmax near 1, or standardises the logits of each example.

    Two things have this name. `log_z` adds a small multiple of the squared log-normaliser to the objective. `spherical`
    replaces the objective by one that does not see shift and scale of the logits. A regression keeps its objective.

    Args:
        form: `log_z` or `spherical`.
        weight: of the penalty of `log_z`; 1e-4 in T5X and PaLM.
        a, b: steepness and margin of `spherical`; their published values were not found, 1 and 0 are a choice of this
            project.

    Equation:
        \ell + \lambda \left( \log \sum_c e^{z_c} \right)^2 \quad \text{or} \quad \frac{1}{a} \log \left( 1 + e^{a (b -
        \hat z_y)} \right), \; \hat z = \frac{z - \mathrm{mean}(z)}{\mathrm{std}(z)}

    Reference:
        Chowdhery et al. 2022, *PaLM: Scaling Language Modeling with Pathways*, https://arxiv.org/abs/2204.02311
        (`log_z`); de Brebisson and Vincent 2016, *The Z-loss: a shift and scale invariant classification loss belonging
        to the Spherical Family*, https://arxiv.org/abs/1604.08859 (`spherical`); no official code

    Differences:
        The spherical loss was made for very many classes. With two, the standardised logit of the label is always 1 or
        -1 and the gradient is zero, so that it is refused. Beside label smoothing, `log_z` alone sees the direction in
        which all logits grow together.

    Cost:
        One pass per update.

    When it helps:
        Against a drift of the logits in half precision; no published result for fine-tuning encoders is known here.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    form: str = choice("log_z", "log_z", "spherical")
    weight: float = number(1e-4, least=0)
    a: float = number(1.0, above=0)
    b: float = number(0.0)

    capturable = True

    @property
    def exclusive(self) -> frozenset[Exclusive]:
        return frozenset({Exclusive.OBJECTIVE}) if self.form == "spherical" else frozenset()

    @property
    def acts_on(self) -> frozenset[Part]:
        return frozenset({Part.CRITERION if self.form == "spherical" else Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        if self.form == "spherical" and model.config.num_labels == 2:
            raise UserError("z_loss.form=spherical has no gradient with two classes; use z_loss.form=log_z")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.form == "spherical":
            return Hooks(criterion=partial(spherical_loss, a=self.a, b=self.b))
        return Hooks(loss=self._penalised) if self.weight else Hooks()

    def _penalised(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        loss, output = inner(batch, forward)
        if is_regression(batch["labels"]):
            return loss, output
        return loss + self.weight * log_z_penalty(output.logits), output
