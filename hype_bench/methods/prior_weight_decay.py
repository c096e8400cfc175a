"""Prior weight decay (Zhang et al., ICLR 2021; Wiese et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Groups, Hooks, Method, Part, register


def decay_towards(weights: list[Tensor], prior: list[Tensor], rate: float) -> None:
    """``w -= rate * (w - prior)``, in place.

    Args:
        rate: learning rate times weight decay.
    """
    torch._foreach_lerp_(weights, prior, rate)


@register("prior_weight_decay")
@dataclass(frozen=True)
class PriorWeightDecay(Method):
    r"""Prior weight decay: weight decay towards the pre-trained weights instead of zero.

    Before each step the weights decay towards their initial values, at the rate of the recipe's weight decay. Biases
    and LayerNorm have no decay, as usual. The head decays towards its own initial weights.

    Equation:
        \theta \leftarrow \theta - \eta \, \lambda_{wd} \, (\theta - \theta_0)

    Reference:
        Zhang, Wu, Katiyar, Weinberger and Artzi 2021, *Revisiting Few-sample BERT Fine-tuning*, ICLR 2021,
        https://arxiv.org/abs/2006.05987 (after Wiese, Weissenborn and Neves 2017); code:
        asappresearch/revisit-bert-finetuning, commit 0aa4f4e

    Differences:
        The released code is meant to exclude the head, but never does so because of an off-by-one error: the head
        decays towards its own initial weights. The same happens here.

    Cost:
        One pass per update, a fixed copy of the weights, and one pass over them before each step.

    When it helps:
        A baseline of the paper, which does not find it better than its other remedies.
    """

    exclusive = frozenset({Exclusive.WEIGHT_DECAY})
    acts_on = frozenset({Part.PARAMETER_GROUPS, Part.WEIGHTS_BEFORE_STEP})
    capturable = True

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_Prior())


@dataclass
class _Prior:
    """The weights where fine-tuning began, of those that decay."""

    weights: dict[Tensor, Tensor] = field(default_factory=dict)

    def parameter_groups(self, groups: Groups) -> Groups:
        for group in groups:
            if group["weight_decay"]:
                self.weights.update({p: p.detach().clone() for p in group["params"]})
        return [{**group, "prior_decay": group["weight_decay"], "weight_decay": 0.0} for group in groups]

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        for group in optimizer.param_groups:
            if group["prior_decay"]:
                weights = list(group["params"])
                for p in weights:  # of a technique named after this one
                    self.weights.setdefault(p, p.detach().clone())
                decay_towards(weights, [self.weights[p] for p in weights], group["lr"] * group["prior_decay"])
