"""Adversarial weight perturbation (Wu et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, choice, number, register
from hype_bench.contract.gradients import add_gradients, take_gradients
from hype_bench.models.layers import word_embeddings


def perturbation(weight: Tensor, gradient: Tensor, gamma: float) -> Tensor:
    """``gamma ||w|| g / ||g||``, of one tensor.

    Reference: Wu, Xia and Wang 2020, "Adversarial Weight Perturbation Helps Robust Generalization", arXiv:2004.05884
    """
    return gradient.mul(gamma * weight.norm() / (gradient.norm() + 1e-20))


@register("awp")
@dataclass(frozen=True)
class AWP(Method):
    r"""AWP: uses the gradient at weights that were moved uphill, each matrix by a share of its norm.

    SAM with one radius for each matrix, relative to it; vectors are spared. Both passes share their dropout masks and
    the noise of other techniques.

    Args:
        gamma: length of the perturbation of a matrix relative to its norm; 0.01 in the paper (with attacks on images).
        order: `restored`, the weights are back before the optimizer steps; `official`, after it, as in the released
            code, so that weight decay acts on the perturbed weights.
        embeddings: whether the table of word embeddings is moved too.

    Equation:
        g = \nabla_w \ell(w + v), \quad v = \gamma \, \|w\| \, \frac{\nabla_w \ell(w)}{\|\nabla_w \ell(w)\|}

    Reference:
        Wu, Xia and Wang 2020, *Adversarial Weight Perturbation Helps Robust Generalization*, NeurIPS 2020,
        https://arxiv.org/abs/2004.05884; code: csdongxian/AWP, commit a7acf5d

    Differences:
        The released code finds v by a step of a copy of the model, which gives exactly the formula, and trains on
        attacked inputs, which another technique (`pgd`) can bring. At its gamma of 0.01 the radius of a BERT-base is
        2.09 in all, 42 times SAM's 0.05: the default is a tenth of it, a choice of this project. The word embeddings
        would take half of that radius and are spared by default. The variant that is popular on Kaggle (a clamp at
        a share of each entry, from some epoch on) is another technique.

    Cost:
        Two passes per update and a copy of the matrices in between.

    When it helps:
        Reported for robustness against attacks on images; practitioners use it for text.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"gamma": 0.0}
    gamma: float = number(1e-3, least=0)
    order: str = choice("restored", "restored", "official")
    embeddings: bool = False

    @property
    def acts_on(self) -> frozenset[Part]:
        return frozenset({Part.BACKWARD, *([Part.WEIGHTS_AFTER_STEP] if self.order == "official" else [])})

    def check(self, model: PreTrainedModel) -> None:
        if not self.embeddings:
            word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.gamma == 0:
            return Hooks()
        climber = _Climber(self, model, context)
        if self.order == "restored":
            return Hooks(backward=climber.backward)
        return Hooks(backward=climber.backward, after_step=climber.after_step, finish=climber.restore)


class _Climber:
    """Matrices that were moved, and what brings them back."""

    def __init__(self, method: AWP, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.table: Any = word_embeddings(model) if not method.embeddings else None
        self.moved: list[tuple[Tensor, Tensor]] = []

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        self.restore()  # of an update that fp16 skipped
        earlier, replayed = take_gradients(self.model), self.context.rng_snapshot(self.model)
        loss = inner(micro_batches)
        steps = self._steps()
        take_gradients(self.model)
        before = [(weight.data, weight.data.clone()) for weight, _ in steps]
        with torch.no_grad():
            for weight, step in steps:
                weight += step
        with replayed():
            inner(micro_batches)
        if self.method.order == "official":
            self.moved = steps
        else:
            for weight, old in before:
                weight.copy_(old)
        add_gradients(earlier)
        return loss

    def after_step(self, optimizer: Optimizer) -> None:
        self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        for weight, step in self.moved:
            weight -= step
        self.moved = []

    def _steps(self) -> list[tuple[Tensor, Tensor]]:
        chosen = [
            p
            for name, p in self.model.named_parameters()
            if "weight" in name and p.dim() > 1 and (self.table is None or p is not self.table.weight)
        ]
        return [(p, perturbation(p.detach(), p.grad, self.method.gamma)) for p in chosen if p.grad is not None]
