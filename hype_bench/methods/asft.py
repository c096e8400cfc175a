"""DFT and anchored fine-tuning (Zhu et al., 2025)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
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
    choice,
    forward_of,
    full,
    number,
    register,
)
from hype_bench.contract.starting_point import StartingPoint
from hype_bench.models.layers import head_parameters
from hype_bench.options import Affects, UserError


def dft_loss(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean of ``-log p_y`` times ``p_y``, the factor without gradient: the gradient is that of ``1 - p_y``.

    Reference: Wu et al. 2025, "On the Generalization of SFT: A Reinforcement Learning Perspective with Reward
    Rectification", arXiv:2508.05629
    """
    log_p = F.log_softmax(logits, -1).gather(-1, labels[:, None])
    return -(log_p.exp().detach() * log_p).mean()


def anchor(logits: Float[Tensor, "batch classes"], reference: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """``KL(reference || model)``, a mean over the batch."""
    log_q, log_p = F.log_softmax(full(logits), -1), F.log_softmax(full(reference), -1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@register("dft")
@dataclass(frozen=True)
class DFT(Method):
    r"""DFT: cross-entropy in which each example weighs as much as the model believes its label.

    It replaces the task's objective. Its gradient is that of the absolute error 1 - p: examples that the model gets
    wrong are nearly ignored, which withstands wrong labels and is slow to start.

    Equation:
        -\mathrm{sg}(p_y) \log p_y

    Reference:
        Wu, Zhou, Zhou, Tan, Zhu and others 2025, *On the Generalization of SFT: A Reinforcement Learning Perspective
        with Reward Rectification*, https://arxiv.org/abs/2508.05629; code: zhuchichi56/ASFT, commit 6f6f51c

    Differences:
        Made for the tokens of generators; here for classes. A fresh head believes all labels alike, so that the first
        gradients are halved with two classes, and examples that it gets wrong at first may stay so: see `asft`, which
        begins with a trained head. Not defined for a regression.

    Cost:
        One pass per update.

    When it helps:
        Reported for generators; as a classifier's loss it is known to withstand noisy labels.
    """

    takes_regression = False
    exclusive = frozenset({Exclusive.OBJECTIVE})
    acts_on = frozenset({Part.CRITERION})

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(criterion=dft_loss)


@register("asft")
@dataclass(frozen=True)
class ASFT(Method):
    r"""Anchored fine-tuning (ASFT): DFT that stays close to what the model says before fine-tuning.

    A fresh head says nothing before fine-tuning, so that it alone is trained first, with the encoder frozen: from this
    model fine-tuning starts, and to it the output is anchored.

    Args:
        kl_weight: of the divergence from the reference; 0.1 in the code, 0.05 in its README.
        weighting: `probability`, the loss is DFT; `none`, plain cross-entropy (`sft+kl` in the code).
        probe: updates that train the head alone, before the run's own.
        probe_learning_rate: of these, constant, with AdamW.

    Equation:
        -\mathrm{sg}(p_y) \log p_y + \lambda \, \mathrm{KL}(p_0 \,\|\, p)

    Reference:
        Zhu, Su, Jiang and others 2025, *Anchored Supervised Fine-Tuning*, https://arxiv.org/abs/2509.23753; code:
        zhuchichi56/ASFT, commit 6f6f51c

    Differences:
        Made for generators, which have a distribution before fine-tuning. The linear probe that gives a classifier one
        is this project's; its updates come on top of the run's budget and go into the record as `probe_updates`. As in
        the code, the expectation of the divergence is under the reference, which is in evaluation mode; whether the
        paper has the same direction was not read. Not defined for a regression.

    Cost:
        One pass per update and one more without gradients; a copy of the weights; the probe.

    When it helps:
        Reported for generators; not known for classifiers.
    """

    takes_regression = False
    moves_weights = True
    tiny_options: ClassVar[Mapping[str, Any]] = {"probe": 5}
    kl_weight: float = number(0.1, least=0)
    weighting: str = choice("probability", "probability", "none")
    probe: int = number(100, least=0, affects=Affects.NUMBERS | Affects.PACE)
    probe_learning_rate: float = number(1e-3, above=0)

    exclusive = frozenset({Exclusive.OBJECTIVE})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.CRITERION, Part.LOSS})

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.probe:
            self._train_head(model, context)
        start = StartingPoint(model, context)

        def loss(batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
            if not self.kl_weight or not model.training:
                return inner(batch, forward)
            start.keep()
            reference = start.logits(batch, forward)
            task, output = inner(batch, forward)
            return task + self.kl_weight * anchor(output.logits, reference), output

        return Hooks(criterion=dft_loss if self.weighting == "probability" else None, loss=loss)

    def _train_head(self, model: PreTrainedModel, context: Context) -> None:
        """The linear probe: the head is trained with cross-entropy on the frozen encoder, in evaluation mode."""
        if not (head := _head(model)):
            raise UserError(f"asft trains a head first, and a {type(model).__name__} has none: set probe=0")
        optimizer, batches = torch.optim.AdamW(head, self.probe_learning_rate), context.needs("asft", "batches")
        passes = itertools.chain.from_iterable(batches(None) for _ in itertools.count())
        model.eval()
        for batch in itertools.islice(passes, self.probe):
            loss, _ = context.objective(batch, forward_of(model))
            for parameter, gradient in zip(head, torch.autograd.grad(loss, head), strict=True):
                parameter.grad = gradient
            optimizer.step()
            optimizer.zero_grad()
        model.train()
        context.facts["probe_updates"] = self.probe


def _head(model: PreTrainedModel) -> list[Tensor]:
    """What of it is trained, in the order in which the model has it."""
    head = head_parameters(model)
    return [p for p in model.parameters() if p in head and p.requires_grad]
