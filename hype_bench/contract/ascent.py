"""Adversarial noise on the word embeddings that climbs the loss from pass to pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract.activations import change_output, current_segments
from hype_bench.contract.context import Context
from hype_bench.contract.objective import Batch, Forward, Loss
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments

Start = Callable[[Tensor, Segments], Tensor]  # embeddings of a loss's first pass -> the first perturbation
Step = Callable[[Tensor, Tensor, Segments], Tensor]  # perturbation, gradient -> the next perturbation


def first_delta(
    draw: Float[Tensor, "*positions width"], segments: Segments, magnitude: float, norm: str
) -> Float[Tensor, "*positions width"]:
    """The initial perturbation: U(-1, 1) on all tokens but padding, scaled to the size of the example.

    Args:
        draw: U[0, 1), for every entry of the embeddings.
        magnitude: with ``norm="l2"`` divided by sqrt(tokens * width) of the example; with ``linf`` the bound itself.

    Reference: Zhu et al. 2020, "FreeLB: Enhanced Adversarial Training for Natural Language Understanding",
    arXiv:1909.11764
    """
    delta = (2 * draw - 1) * magnitude * segments.mask.unsqueeze(-1)
    size = (segments.lengths * draw.shape[-1]).to(draw.dtype)
    return delta / segments.broadcast(size.sqrt()) if norm == "l2" else delta


def ascend(
    delta: Float[Tensor, "*positions width"],
    gradient: Float[Tensor, "*positions width"],
    segments: Segments,
    learning_rate: float,
    most_norm: float,
    norm: str,
) -> Float[Tensor, "*positions width"]:
    """One step up the loss: ``delta + learning_rate * g / ||g||``, then back into the ball if there is one.

    Norms are an example's: Frobenius (``l2``), or the largest entry (``linf``). ``most_norm`` 0 means no ball.
    """
    if norm == "linf":
        flat = gradient.abs().amax(-1).flatten()
        largest = flat.new_zeros(segments.examples).scatter_reduce(0, segments.ids.flatten(), flat, "amax")
        moved = delta + learning_rate * gradient / segments.broadcast(largest.clamp_min(1e-8))
        return moved.clamp(-most_norm, most_norm) if most_norm else moved
    moved = delta + learning_rate * gradient / segments.broadcast(segments.norms(gradient).clamp_min(1e-8))
    if not most_norm:
        return moved
    return moved * segments.broadcast((most_norm / segments.norms(moved).clamp_min(1e-8)).clamp(max=1.0))


def unit(x: Float[Tensor, "*positions width"], segments: Segments) -> Float[Tensor, "*positions width"]:
    """``x / ||x||``, the norm an example's, with the guards of the code of adversarial and virtual adversarial training
    on text: ``x / (m sqrt(sum (x / m)^2 + 1e-6))``, m the largest entry; slightly below 1, and 0 for zeros.

    Reference: Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification",
    arXiv:1605.07725
    """
    flat = x.abs().amax(-1).flatten()
    largest = flat.new_zeros(segments.examples).scatter_reduce(0, segments.ids.flatten(), flat, "amax") + 1e-12
    scaled = x / segments.broadcast(largest)
    return scaled / segments.broadcast((segments.norms(scaled).square() + 1e-6).sqrt())


class Climb:
    """The perturbations of one update: one for each loss that a pass over it computes, above all one for each
    micro-batch that gradient accumulation cuts it into.

    Args:
        start: the first perturbation of a loss.
        step: the next one.
        passes: by which every loss is divided.
    """

    def __init__(self, model: PreTrainedModel, context: Context, start: Start, step: Step, passes: int = 1) -> None:
        self.context, self.start, self.step, self.passes = context, start, step, passes
        self.segments = current_segments(model, context)
        self.losses = 0
        self.is_active = False
        self.current = context.flag(0)  # number of the loss within its pass, from 1; 0 where nothing climbs
        self.deltas: dict[int, tuple[Tensor, Segments]] = {}
        context.until_finish(change_output(word_embeddings(model), self._perturbed))

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        """The hook: a loss whose perturbation climbs with it."""
        if not self.is_active:  # a loss that nobody will climb is the task's
            return inner(batch, forward)
        self.losses += 1
        with self.current.set(self.losses):
            loss, output = inner(batch, forward)
        return loss / self.passes, output

    @contextlib.contextmanager
    def climbing(self, keeps: bool = False) -> Iterator[None]:
        """Losses within are perturbed; ``keeps`` leaves their perturbations for the next update."""
        self.is_active, self.losses = True, 0
        try:
            yield
        finally:
            self.is_active = False
            if not keeps:
                self.deltas.clear()

    def ascend(self) -> None:
        """Takes a step with the gradients that the last pass left on the perturbations."""
        for place, (delta, segments) in self.deltas.items():
            assert delta.grad is not None
            moved = self.step(delta.detach(), self.context.unscaled(delta.grad), segments)
            self.deltas[place] = moved.requires_grad_(), segments
        self.losses = 0

    def _perturbed(self, embedded: Tensor) -> Tensor | None:
        place = self.current.value
        if not place:
            return None
        if place not in self.deltas:
            segments = self.segments(embedded)
            self.deltas[place] = self.start(embedded, segments).requires_grad_(), segments
        return embedded + self.deltas[place][0].to(embedded.dtype)
