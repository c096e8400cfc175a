"""StableMax (Prieto et al., ICLR 2025)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register

_FLOOR = 1e-30


def log_stablemax(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """``log(s(z) / sum s(z))`` with ``s(x) = x + 1`` for x >= 0, else ``1 / (1 - x)``.

    Reference: Prieto et al. 2025, "Grokking at the Edge of Numerical Stability", arXiv:2501.04697
    """
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits.clamp(max=0) + _FLOOR))
    return (s / s.sum(-1, keepdim=True)).log()


def stablemax_loss(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean cross-entropy under StableMax."""
    return -log_stablemax(logits).gather(-1, labels[:, None]).mean()


@register("stablemax")
@dataclass(frozen=True)
class StableMax(Method):
    r"""StableMax: cross-entropy with a softmax that grows linearly instead of exponentially.

    It replaces the task's objective; techniques with terms of their own (R-Drop, SMART) keep their softmax. A
    regression keeps its mean squared error.

    Equation:
        -\log \frac{s(z_y)}{\sum_c s(z_c)}, \quad s(x) = \begin{cases} x + 1 & x \ge 0 \\ 1 / (1 - x) & x < 0
        \end{cases}

    Reference:
        Prieto, Barsbey, Mediano and Birdal 2025, *Grokking at the Edge of Numerical Stability*, ICLR 2025,
        https://arxiv.org/abs/2501.04697; code: LucasPrietoAl/grokking-at-the-edge-of-numerical-stability, commit
        0cc9e8d

    Differences:
        The released code computes in float64; here in float32 or wider. s keeps the order of the logits, so that the
        predicted class is the same, but confidences that are read from a softmax are not those that were trained.

    Cost:
        One pass per update.

    When it helps:
        Made for training from scratch without weight decay; the paper has nothing on fine-tuning. At logits of 0 loss
        and gradient equal those of softmax. Later, examples that the model gets confidently wrong weigh less: at a gap
        of 10 the gradient is 0.16 instead of 1.
    """

    exclusive = frozenset({Exclusive.OBJECTIVE})
    acts_on = frozenset({Part.CRITERION})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(criterion=stablemax_loss)
