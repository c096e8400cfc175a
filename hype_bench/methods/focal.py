"""Focal loss (Lin et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, number, register


def focal_loss(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], gamma: float
) -> Float[Tensor, ""]:
    """Mean of ``-(1 - p_y)^gamma log p_y``.

    Reference: Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002
    """
    log_p = F.log_softmax(logits, -1).gather(-1, labels[:, None])
    missing = -torch.expm1(log_p)
    least = torch.finfo(log_p.dtype).tiny  # below a gamma of 1 the slope at 0 is infinite
    return -(missing.clamp_min(least) ** gamma * log_p).mean()


@register("focal")
@dataclass(frozen=True)
class Focal(Method):
    r"""Focal loss: cross-entropy in which an example weighs less the more the model believes its label.

    It replaces the task's objective; techniques with terms of their own (R-Drop, SMART) keep those as they are.

    Args:
        gamma: how fast the weight falls; 2 in the paper, 0 for plain cross-entropy.

    Equation:
        -(1 - p_y)^\gamma \log p_y

    Reference:
        Lin, Goyal, Girshick, He and Dollár 2017, *Focal Loss for Dense Object Detection*, ICCV 2017,
        https://arxiv.org/abs/1708.02002

    Differences:
        The paper has one sigmoid for each kind of object and a weight for each; here a softmax over the classes, as is
        usual for texts, without class weights. Not defined for a regression.

    Cost:
        One pass per update.

    When it helps:
        Where nearly all examples are easy ones of one class, as among the boxes of a detector. The tasks of GLUE are
        hardly imbalanced: expect no better accuracy there. Calibration does change: easy examples hardly train, so
        that predictions are less confident, which helps an overconfident model and hurts another one.
    """

    takes_regression = False
    neutral: ClassVar[Mapping[str, Any]] = {"gamma": 0.0}
    gamma: float = number(2.0, least=0)

    exclusive = frozenset({Exclusive.OBJECTIVE})
    acts_on = frozenset({Part.CRITERION})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(criterion=partial(focal_loss, gamma=self.gamma)) if self.gamma else Hooks()
