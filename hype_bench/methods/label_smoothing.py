"""Label smoothing (Szegedy et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.options import number


def smoothed_loss(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], smoothing: float
) -> Float[Tensor, ""]:
    """Mean of ``(1 - smoothing) CE(y)`` plus ``smoothing`` times the mean over all classes of ``-log p``.

    Reference: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


@register("label_smoothing")
@dataclass(frozen=True)
class LabelSmoothing(Method):
    r"""Label smoothing: cross-entropy with a target that gives every class a share.

    It replaces the task's objective; techniques with terms of their own (R-Drop, SMART) keep those as they are. A
    regression keeps its mean squared error.

    Args:
        smoothing: the share that is spread over all classes, the label's own among them.

    Equation:
        (1 - \epsilon) \left( -\log p_y \right) + \frac{\epsilon}{C} \sum_c -\log p_c

    Reference:
        Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2016, *Rethinking the Inception Architecture for Computer Vision*,
        CVPR 2016, https://arxiv.org/abs/1512.00567; computed by torch, as `label_smoothing_factor` of the Trainer

    Differences:
        Some papers spread the share over the C - 1 wrong classes; their epsilon is this one times (C - 1) / C. The
        score on the dev set is that of the logits, without smoothing.

    Cost:
        One pass per update.

    When it helps:
        For calibration; on GLUE often neutral for accuracy.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"smoothing": 0.0}
    smoothing: float = number(0.1, least=0, most=1)

    exclusive = frozenset({Exclusive.OBJECTIVE})
    acts_on = frozenset({Part.CRITERION})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(criterion=partial(smoothed_loss, smoothing=self.smoothing))
