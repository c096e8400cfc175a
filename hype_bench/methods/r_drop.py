"""R-Drop (Liang et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Forward, Hooks, Loss, Method, Part, is_regression, register
from hype_bench.contract.divergence import symmetric_kl
from hype_bench.contract.passes import EqualPasses
from hype_bench.options import choice, number


def consistency(
    first: Float[Tensor, "batch classes"], second: Float[Tensor, "batch classes"], variant: str, of_numbers: bool
) -> Float[Tensor, ""]:
    """What R-Drop adds to the two task losses, before ``alpha``.

    ``paper``: ``1/2 (KL + KL)`` per sample, that is divided by the batch; the released fairseq criterion is the same.
    ``official_hf``: the released Hugging Face code sums over the batch where the cross-entropy is a mean, so that its
    weight grows with the batch size. Regression: mean squared difference in both (Appendix A.4).

    Reference: Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", arXiv:2106.14448
    """
    if of_numbers:
        return F.mse_loss(first, second)
    divergence = symmetric_kl(first, second) / 2
    return divergence if variant == "official_hf" else divergence / len(first)


@register("r_drop")
@dataclass(frozen=True)
class RDrop(Method):
    r"""R-Drop: penalises the divergence between two passes with different dropout masks.

    The loss is the sum of the cross-entropy of both passes and alpha times their symmetric divergence.

    Args:
        alpha: weight of the divergence; 1.0 in fairseq, 0.5 in the Hugging Face code for BERT, {0.1, 0.5, 1.0} in
            HyPe's Table 15.
        variant: scaling of the divergence: `paper`, its mean over the batch; `official_hf`, its sum over the batch.

    Equation:
        \ell_1 + \ell_2 + \frac{\alpha}{2} \left[ \mathrm{KL}(p_1 \,\|\, p_2) + \mathrm{KL}(p_2 \,\|\, p_1) \right]

    Reference:
        Liang, Wu, Li, Wang, Meng, Qin, Chen, Zhang and Liu 2021, *R-Drop: Regularized Dropout for Neural Networks*,
        NeurIPS 2021, https://arxiv.org/abs/2106.14448; code: dropreg/R-Drop, commit 9dcc830

    Differences:
        The objective is per example in the paper and in the released fairseq criterion. The released Hugging Face code
        adds the sum of the KL over the batch to the mean of the cross-entropy, so that the weight of the KL grows with
        the batch size (`variant=official_hf`; its alpha is 0.5 for BERT, on top of the factor 1/2). Its RoBERTa class
        loses the second cross-entropy by mistake and is not offered. For a regression the divergence is the mean
        squared difference of the outputs (Appendix A.4).

    Cost:
        Two passes per update.

    Control:
        vanilla with 2 times the epochs: the second pass over every batch.

    When it helps:
        Reported on GLUE, translation and other tasks. Without dropout or other noise both passes are the same; R-Drop
        then does nothing, and the run warns.
    """

    alpha: float = number(1.0, least=0)
    variant: str = choice("paper", "paper", "official_hf")

    acts_on = frozenset({Part.LOSS})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        compared = EqualPasses("r_drop", context)

        def loss(batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
            loss1, first = inner(batch, forward)
            loss2, second = inner(batch, forward)
            added = consistency(first.logits, second.logits, self.variant, is_regression(batch["labels"]))
            return loss1 + loss2 + self.alpha * compared.watch(added), first

        return Hooks(loss=loss)
