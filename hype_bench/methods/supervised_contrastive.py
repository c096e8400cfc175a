"""A supervised contrastive term (Gunel et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
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
    number,
    register,
)
from hype_bench.models.layers import output_projection
from hype_bench.options import UserError


def contrast(
    features: Float[Tensor, "batch width"], labels: Int[Tensor, " batch"], temperature: float, scaling: str
) -> Float[Tensor, ""]:
    """Of every example the mean over those of its class of ``-log softmax`` of their similarities, itself left out.

    Args:
        features: are divided by their norms here.
        scaling: ``sum`` over the examples, or their ``mean``, in which an example without a partner counts as 0.

    Reference: Gunel et al. 2021, "Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning",
    arXiv:2011.01403
    """
    directions = F.normalize(full(features), dim=-1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similarities = (directions @ directions.T / temperature).masked_fill(itself, float("-inf"))
    log_p = similarities.log_softmax(-1).masked_fill(itself, 0.0)
    partners = (labels[:, None] == labels) & ~itself
    terms = -(log_p * partners).sum(-1) / partners.sum(-1).clamp_min(1)
    return terms.sum() if scaling == "sum" else terms.mean()


@register("supervised_contrastive")
@dataclass(frozen=True)
class SupervisedContrastive(Method):
    r"""Supervised contrastive term: draws examples of one class together and others apart.

    Args:
        weight: lambda; cross-entropy keeps the weight 1 - lambda.
        temperature: of the similarities.
        scaling: `sum` over the examples of the batch, as in the paper, or their `mean`, as in SupContrast.

    Equation:
        (1 - \lambda) \, \ell + \lambda \sum_i \frac{-1}{N_{y_i} - 1} \sum_{j \ne i, \, y_j = y_i} \log
        \frac{e^{f_i \cdot f_j / \tau}}{\sum_{k \ne i} e^{f_i \cdot f_k / \tau}}

    Reference:
        Gunel, Du, Conneau and Stoyanov 2021, *Supervised Contrastive Learning for Pre-trained Language Model
        Fine-tuning*, ICLR 2021, https://arxiv.org/abs/2011.01403; no public code; the term as in
        HobbitLong/SupContrast, commit 66a8fe5

    Differences:
        The paper's values, lambda 0.9 and temperature 0.3, are quoted from others. It speaks of the first token's
        representation; here it is what the output projection reads, dropout included. With gradient accumulation the
        examples are compared within a micro-batch. The sum grows with the batch; SupContrast takes the mean, 0.07 as
        temperature and two views of each example, of which there is one here. Refused for a regression.

    Cost:
        One pass per update and the products of all pairs of features.

    When it helps:
        The paper reports gains with few labelled examples and with noisy ones.
    """

    takes_regression = False
    neutral: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    reads_features = True
    per_example = True
    weight: float = number(0.9, least=0, most=1)
    temperature: float = number(0.3, above=0)
    scaling: str = choice("sum", "sum", "mean")

    acts_on = frozenset({Part.HEAD_INPUTS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        output_projection(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.weight == 0:
            return Hooks()
        read: list[Tensor] = []  # by the output projection, in the first pass of the present loss

        def keep_first(module: nn.Module, args: Any) -> None:
            if not read:
                read.append(args[0])

        context.until_finish(output_projection(model).register_forward_pre_hook(keep_first))

        def loss(batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
            before = [*read]
            read.clear()
            task, output = inner(batch, forward)
            (features,) = read or before  # mixup asks for a second loss of the same pass
            if features.dim() != 2:
                kind = model.config.model_type
                raise UserError(f"supervised_contrastive cannot work for {kind}: its head reads all tokens")
            read[:] = [features]
            added = contrast(features, batch["labels"], self.temperature, self.scaling)
            return (1 - self.weight) * task + self.weight * added, output

        return Hooks(loss=loss)
