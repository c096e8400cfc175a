"""EMA and SWA (Izmailov et al., UAI 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.options import Affects, number

Fold = Callable[[list[Tensor], list[Tensor], int], None]  # averages, weights, how many went in -> averages, in place


@dataclass
class _Average:
    """The running mean of a model's trained parameters; the first that comes in is copied."""

    model: PreTrainedModel
    fold: Fold
    takes: Callable[[int], bool]  # number of the update, from 1 -> whether the mean takes its weights
    update: int = 0
    count: int = 0
    weights: list[Tensor] = field(default_factory=list)
    mean: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        self.update += 1
        if not self.takes(self.update):
            return
        if not self.mean:
            self.weights = [p for p in self.model.parameters() if p.requires_grad]
            self.mean = [p.detach().clone() for p in self.weights]
        else:
            self.fold(self.mean, self.weights, self.count)
        self.count += 1

    @torch.no_grad()
    def finish(self) -> None:
        """Puts the mean in the place of the weights, if there is one."""
        for weight, mean in zip(self.weights, self.mean, strict=True):
            weight.copy_(mean)


@register("ema")
@dataclass(frozen=True)
class EMA(Method):
    r"""EMA: an exponential moving average of the weights is evaluated instead of the final weights.

    The average runs over all updates and is what the run saves.

    Args:
        decay: weight of the old average at each update; torch's default is 0.999.

    Equation:
        \bar\theta \leftarrow d \, \bar\theta + (1 - d) \, \theta

    Reference:
        Polyak and Juditsky 1992, *Acceleration of Stochastic Approximation by Averaging*; computed by
        torch.optim.swa_utils

    Differences:
        A decay of 0.999 averages over roughly the last 1000 updates, which is too many for a run of 500. Only trained
        parameters are averaged; these encoders have no batch statistics to recompute. The curve of
        `training.evaluate_every` evaluates the current weights, not their average.

    Cost:
        One pass per update and one copy of the weights.

    When it helps:
        Common practice when training from scratch; a short fine-tuning run needs a smaller decay.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"decay": 0.0}
    decay: float = number(0.999, least=0, most=1)

    exclusive = frozenset({Exclusive.SCORED_WEIGHTS})
    acts_on = frozenset({Part.WEIGHTS_AFTER_STEP})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_Average(model, get_ema_multi_avg_fn(self.decay), lambda update: True))


@register("swa")
@dataclass(frozen=True)
class SWA(Method):
    r"""SWA: the mean of the weights over the last part of training is evaluated instead of the final weights.

    The mean is what the run saves.

    Args:
        start: fraction of the updates after which averaging starts.
        every: number of updates between two weights that enter the mean.

    Equation:
        \bar\theta \leftarrow \frac{n \, \bar\theta + \theta}{n + 1}

    Reference:
        Izmailov, Podoprikhin, Garipov, Vetrov and Wilson 2018, *Averaging Weights Leads to Wider Optima and Better
        Generalization*, UAI 2018, https://arxiv.org/abs/1803.05407; computed by torch.optim.swa_utils

    Differences:
        The paper averages the weights at the end of each epoch, under a constant or cyclical learning rate, after 75 %
        of the budget. Here the schedule of the recipe, with its linear decay, stays as it is, and every update from 75
        % on enters the mean. Only trained parameters are averaged; these encoders have no batch statistics to
        recompute. The curve of `training.evaluate_every` evaluates the current weights, not their mean.

    Cost:
        One pass per update and one copy of the weights.

    When it helps:
        The paper reports wider optima and better accuracy for vision models.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"start": 1.0}
    start: float = number(0.75, least=0, most=1)
    every: int = number(1, least=1, affects=Affects.NUMBERS | Affects.PACE)

    exclusive = frozenset({Exclusive.SCORED_WEIGHTS})
    acts_on = frozenset({Part.WEIGHTS_AFTER_STEP})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        first = self.start * context.needs("swa", "updates")

        def takes(update: int) -> bool:
            return update > first and (update - int(first) - 1) % self.every == 0

        return Hooks.of(_Average(model, get_swa_multi_avg_fn(), takes))
