"""RecAdam (Chen et al., EMNLP 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Groups, Hooks, Method, Part, register
from hype_bench.contract.own_step import Group, OwnStep
from hype_bench.options import choice, number


def share_of_task(step: int, schedule: str, k: float, t0: float, w: float) -> float:
    """lambda(t), the weight of the task's objective after annealing; ``w`` at most.

    Args:
        step: number of the update, from 1.
        schedule: ``sigmoid`` w / (1 + exp(-k (t - t0))), ``linear`` w min(1, t / t0), or ``constant`` w.

    Reference: Chen et al. 2020, "Recall and Learn: Fine-tuning Deep Pretrained Language Models with Less Forgetting",
    section 3.3, arXiv:2004.12651
    """
    if schedule == "sigmoid":
        return w * torch.tensor(k * (step - t0), dtype=torch.float64).sigmoid().item()
    return w * min(1.0, step / t0) if schedule == "linear" else w


def recall(
    weights: list[Tensor], adam: list[Tensor], pretrained: list[Tensor], share: float, w: float, pull: float
) -> list[Tensor]:
    """One step of RecAdam without its decay: where the weights go, in tensors of the same shapes.

    Args:
        weights: before the step; ``adam``: where plain Adam without decay would take them.
        share: lambda(t); ``w``: its upper end.
        pull: learning rate times the strength of the pull.
    """
    moved = torch._foreach_lerp(weights, adam, share)
    pulls = torch._foreach_sub(moved, pretrained)
    torch._foreach_mul_(pulls, pull * (w - share))
    torch._foreach_sub_(moved, pulls)
    return list(moved)


@register("recadam")
@dataclass(frozen=True)
class RecAdam(Method):
    r"""RecAdam: Adam with a pull towards the pre-trained weights that fades as the task takes over.

    Adam's step is scaled by lambda(t), and the pull by w - lambda(t). The pull affects neither Adam's moments nor
    clipping. It acts on the encoder and its pooler; the head takes plain Adam steps. Weight decay comes last.

    Args:
        schedule: of lambda: `sigmoid`, w / (1 + exp(-k (t - t0))); `linear`, w min(1, t / t0); `constant`, w.
        k: slope of the sigmoid; the released code searches {0.05, 0.1, 0.2, 0.5, 1}.
        t0: midpoint of the sigmoid, in updates; the released code searches {100, 250, 500} for small tasks and {250,
            500, 1000} for larger ones.
        pull: strength of the pull, `pretrain_cof`; 5000 in the paper. Stable below 2 / learning rate.
        w: upper limit of lambda, `anneal_w`; 0 is AdamW without the pull.

    Equation:
        \theta \leftarrow \theta - \eta \left[ \lambda(t) \frac{\hat m}{\sqrt{\hat v} + \epsilon} + (1 - \lambda(t))
        \gamma (\theta - \theta_0) \right], \quad \lambda(t) = \frac{1}{1 + e^{-k (t - t_0)}}

    Reference:
        Chen, Hou, Cui, Che, Liu and Yu 2020, *Recall and Learn: Fine-tuning Deep Pretrained Language Models with Less
        Forgetting*, EMNLP 2020, https://arxiv.org/abs/2004.12651; code: Sanyuan-Chen/RecAdam, commit 505ba3c

    Differences:
        As in the released code, the pull uses the scheduled learning rate and acts on the weights after Adam's step,
        and weight decay comes last. The released Adam adds epsilon before the bias correction;
        `training.optimizer=adamw_hf` reproduces it to the digit, `adamw` is the Adam of the paper.

    Cost:
        One pass per update, a fixed copy of the pre-trained weights, and a copy of the weights during the step.

    When it helps:
        The paper reports gains on GLUE. At its defaults (t0 250, pull 5000) the weights hardly move before update 250.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"w": 0.0}
    schedule: str = choice("sigmoid", "sigmoid", "linear", "constant")
    k: float = number(0.5, above=0)
    t0: float = number(250.0, above=0)
    pull: float = number(5000.0, least=0)
    w: float = number(1.0, least=0, most=1)

    exclusive = frozenset({Exclusive.OPTIMIZER_STEP, Exclusive.WEIGHT_DECAY})
    acts_on = frozenset({Part.PARAMETER_GROUPS, Part.WEIGHTS_BEFORE_STEP, Part.WEIGHTS_AFTER_STEP})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.w == 0 else Hooks.of(_Recall(self, model))


@dataclass
class _Recall:
    method: RecAdam
    model: PreTrainedModel
    steps: int = 0
    own_step: OwnStep = field(default_factory=OwnStep)
    pretrained: dict[Tensor, Tensor] = field(default_factory=dict)

    def parameter_groups(self, groups: Groups) -> Groups:
        encoder = set(self.model.base_model.parameters())
        self.pretrained = {p: p.detach().clone() for group in groups for p in group["params"] if p in encoder}
        return self.own_step.take_decay(groups)

    def before_step(self, optimizer: Optimizer) -> None:
        self.own_step.remember(self.pretrained)

    def after_step(self, optimizer: Optimizer) -> None:
        self.steps += 1
        method = self.method
        share = share_of_task(self.steps, method.schedule, method.k, method.t0, method.w)

        def step(adam: list[Tensor], before: list[Tensor], group: Group) -> list[Tensor]:
            pretrained = [self.pretrained[p] for p in adam]
            return recall(before, adam, pretrained, share, method.w, group["lr"] * method.pull)

        self.own_step.replace(optimizer, step)
