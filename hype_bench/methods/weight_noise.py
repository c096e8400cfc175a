"""Noise on the weights at every update (Zhang et al., 2024; Orvieto et al., ICML 2022)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, choice, number, register
from hype_bench.contract.gradients import add_gradients, take_gradients
from hype_bench.contract.moved_weights import moved
from hype_bench.contract.passes import dropout_masks
from hype_bench.options import Affects


def terms(own_weight: float, draws: int, form: str) -> list[tuple[int, float, float]]:
    """The passes of an update: (number of the draw, factor on its noise, weight of the gradient); draw 0 is none.

    ``own_weight`` of the gradient at the weights themselves; the rest is the mean over the draws, ``two_sided`` of both
    signs of each.

    Reference: Zhang et al. 2024, "Noise Stability Optimization for Finding Flat Minima", arXiv:2306.08553
    """
    signs = (1.0, -1.0) if form == "two_sided" else (1.0,)
    share = (1 - own_weight) / (draws * len(signs))
    noised = [(draw, sign, share) for draw in range(1, draws + 1) for sign in signs] if share else []
    return [*([(0, 0.0, own_weight)] if own_weight else []), *noised]


@register("weight_noise")
@dataclass(frozen=True)
class WeightNoise(Method):
    r"""Weight noise: takes the gradient at weights with noise on them, anew at every update.

    `two_sided` and `one_sided` average gradients at noised weights; the step is taken from the weights without noise.
    `anti_pgd` steps with noise that takes back the noise of the update before, so that it does not add up; the last one
    is removed at the end.

    Args:
        sigma: standard deviation of the noise on every trained entry; 0.01 in the scripts, 0.05 in the class.
        form: `two_sided`, w + u and w - u; `one_sided`, w + u, as the released script for text; `anti_pgd`.
        draws: perturbations per update; of `two_sided` two passes each.
        own_weight: weight of the gradient at the weights themselves; 0.5 by default on the released command line.
        relative: whether sigma is a multiple of the standard deviation of each weight tensor, as in NoisyTune.
        dropout_masks: `own`, each pass draws its own, as in the released code; `shared`, all have the same.

    Equation:
        g = \lambda \nabla \ell(w) + \frac{1 - \lambda}{2K} \sum_k \left[ \nabla \ell(w + u_k) + \nabla \ell(w - u_k)
        \right], \quad u_k \sim N(0, \sigma^2)

    Reference:
        Zhang, Li and Ju 2024, *Noise Stability Optimization for Finding Flat Minima: A Hessian-based Regularization
        Approach*, https://arxiv.org/abs/2306.08553; code: VirtuosoResearch/Noise-stability-optimization, commit
        bf11dc2; Anti-PGD: Orvieto, Kersting, Proske, Bach and Lucchi 2022, *Anticorrelated Noise Injection for Improved
        Generalization*, ICML 2022, https://arxiv.org/abs/2202.02831, no official code

    Differences:
        The released code makes the pass at the weights themselves even where its weight is 0; here it does not. Its
        script for text has two draws, one-sided, and a schedule that does not reach its optimizer. A standard deviation
        of 0.01 is a quarter of that of BERT's matrices, and it is on LayerNorms and embeddings too: strong. The radius
        for encoders is not settled by any source.

    Cost:
        Two passes per draw (`two_sided`), one (`one_sided`), one per update (`anti_pgd`); a copy of the weights.

    When it helps:
        The paper reports flatter minima and gains in fine-tuning; it is the third place for noise beside embeddings
        (NEFTune) and hidden states (HyPe), and NoisyTune's at every update.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"sigma": 0.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"sigma": 0.002}
    sigma: float = number(0.01, least=0)
    form: str = choice("two_sided", "two_sided", "one_sided", "anti_pgd")
    draws: int = number(1, affects=Affects.NUMBERS | Affects.PACE, least=1, most=1_000)
    own_weight: float = number(0.0, least=0, most=1)
    relative: bool = False
    dropout_masks: str = choice("own", "own", "shared")

    @property
    def acts_on(self) -> frozenset[Part]:
        return frozenset({Part.WEIGHTS_AFTER_STEP if self.form == "anti_pgd" else Part.BACKWARD})

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.sigma == 0:
            return Hooks()
        noise = _Noise(self, model, context)
        if self.form == "anti_pgd":
            return Hooks(after_step=noise.step, finish=noise.remove)
        return Hooks(backward=noise.backward)


class _Noise:
    """Noise that is drawn again from its number instead of being kept."""

    def __init__(self, method: WeightNoise, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.source = context.noise("weight_noise")
        self.updates = 0

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        method, losses = self.method, []
        total, earlier = [], take_gradients(self.model)
        masks = dropout_masks(method.dropout_masks, self.model, self.context)
        for place, (draw, sign, share) in enumerate(terms(method.own_weight, method.draws, method.form)):
            with self._noised(draw, sign), masks() if place else contextlib.nullcontext():
                losses.append(share * inner(micro_batches))
            total.append((take_gradients(self.model), share))
            if place:
                self._fold(total)
        self.updates += 1
        for gradients, share in total:
            add_gradients(gradients, share)
        add_gradients(earlier)
        return torch.stack(losses).sum()

    def _fold(self, total: list[Any]) -> None:
        """One accumulator, however many draws there are."""
        for gradients, share in total:
            add_gradients(gradients, share)
        total[:] = [(take_gradients(self.model), 1.0)]

    @contextlib.contextmanager
    def _noised(self, draw: int, sign: float) -> Iterator[None]:
        if draw == 0:
            yield
            return
        weights = self._trained()
        with moved(list(weights.values()), self._draw(weights, f"{self.updates} {draw}"), sign):
            yield

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Anti-PGD: the noise of this update, less that of the one before."""
        self.updates += 1
        self._add(self.updates, 1.0)
        self._add(self.updates - 1, -1.0)

    @torch.no_grad()
    def remove(self) -> None:
        """What the steps of Anti-PGD have left: the last noise less the first."""
        if self.updates:
            self._add(self.updates, -1.0)
            self._add(0, 1.0)

    def _add(self, update: int, sign: float) -> None:
        weights = self._trained()
        torch._foreach_add_(list(weights.values()), self._draw(weights, str(update)), alpha=sign)

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _draw(self, weights: Mapping[str, nn.Parameter], number: str) -> list[Tensor]:
        draws = [self.source.normal(p.detach(), f"{number} {name}") for name, p in weights.items()]
        if not self.method.relative:
            return list(torch._foreach_mul(draws, self.method.sigma))
        spreads = [p.detach().std(correction=0) for p in weights.values()]
        return [draw * spread * self.method.sigma for draw, spread in zip(draws, spreads, strict=True)]
