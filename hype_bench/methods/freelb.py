"""FreeLB (Zhu et al., ICLR 2020)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Forward, Hooks, Loss, Method, Part, full, register
from hype_bench.contract.activations import change_output, current_segments
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments
from hype_bench.options import Affects, choice, number


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


@register("freelb")
@dataclass(frozen=True)
class FreeLB(Method):
    r"""FreeLB: several passes per update with adversarial noise on the word embeddings; all their gradients are used.

    Between the K passes of an update the perturbation climbs the loss; the gradient and the loss of the update are
    means over its passes. All passes share their dropout masks.

    Args:
        steps: number of passes K; 2 to 4 in the released commands.
        learning_rate: step size of the ascent; 1e-1 for RTE (ALBERT), 4e-2 for CoLA, 3e-2 for MRPC.
        init_magnitude: size of the first perturbation; 0 for RTE and MRPC, 5e-2 for CoLA, 0.2 for STS-B, 0.6 for SST-2.
        max_norm: radius of the ball around the embeddings; 0, the released value for most tasks, means no ball.
        norm: norm of the ball and of the ascent direction.
        passes: `paper`, K passes, as in the released Hugging Face code; `fairseq`, K + 1, as in the released fairseq
            code.

    Equation:
        g = \frac{1}{K} \sum_{t=0}^{K-1} \nabla_\theta \ell(f(e + \delta_t)), \quad \delta_{t+1} = \Pi_{\|\delta\| \le
        \epsilon} \left( \delta_t + \alpha \frac{\nabla_\delta \ell}{\| \nabla_\delta \ell \|_F} \right)

    Reference:
        Zhu, Cheng, Gan, Sun, Goldstein and Liu 2020, *FreeLB: Enhanced Adversarial Training for Natural Language
        Understanding*, ICLR 2020, https://arxiv.org/abs/1909.11764; code: zhuchen03/FreeLB, commit eb23701

    Differences:
        The released Hugging Face code makes K passes, like the paper; the released fairseq code makes K + 1
        (`passes=fairseq`). Both use the same dropout masks in all passes of an update, and so does this one. The
        defaults are the released values for RTE with ALBERT; those of other tasks are given with the options.

    Cost:
        K passes per update.

    When it helps:
        The paper reports gains on GLUE, ARC and CommonsenseQA with RoBERTa and ALBERT.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"steps": 1, "init_magnitude": 0.0}
    steps: int = number(3, affects=Affects.NUMBERS | Affects.PACE, least=1, most=1_000)
    learning_rate: float = number(0.1, least=0)
    init_magnitude: float = number(0.0, least=0)
    max_norm: float = number(0.0, least=0)
    norm: str = choice("l2", "l2", "linf")
    passes: str = choice("paper", "paper", "fairseq")

    acts_on = frozenset({Part.EMBEDDINGS, Part.LOSS, Part.BACKWARD})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        climb = _Climb(self, model, context)
        context.until_finish(change_output(word_embeddings(model), climb._perturbed))
        return Hooks.of(climb)


class _Climb:
    """The perturbations of one update: one for each loss that a pass over it computes, above all one for each
    micro-batch that gradient accumulation cuts it into."""

    def __init__(self, method: FreeLB, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.passes = method.steps + (method.passes == "fairseq")
        self.segments, self.source = current_segments(model, context), context.noise("freelb", model)
        self.losses = 0
        self.climbing = False
        self.current = context.flag(0)  # number of the loss within its pass, from 1; 0 where nothing climbs
        self.deltas: dict[int, tuple[Tensor, Segments]] = {}

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.climbing:  # a loss that nobody will climb is the task's
            return inner(batch, forward)
        self.losses += 1
        with self.current.set(self.losses):
            loss, output = inner(batch, forward)
        return loss / self.passes, output

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        replayed = self.context.rng_snapshot(self.model)
        with self._from_the_start():
            total = inner(micro_batches)
            for _ in range(self.passes - 1):
                self._ascend()
                with replayed():
                    total = total + inner(micro_batches)
        return total

    @contextlib.contextmanager
    def _from_the_start(self) -> Iterator[None]:
        self.climbing, self.losses = True, 0
        try:
            yield
        finally:
            self.climbing = False
            self.deltas.clear()

    def _perturbed(self, embedded: Tensor) -> Tensor | None:
        place = self.current.value
        if not place:
            return None
        if place not in self.deltas:
            segments, draw = self.segments(embedded), self.source.uniform(full(embedded.detach()), "delta")
            delta = first_delta(draw, segments, self.method.init_magnitude, self.method.norm)
            self.deltas[place] = delta.requires_grad_(), segments
        return embedded + self.deltas[place][0].to(embedded.dtype)

    def _ascend(self) -> None:
        method = self.method
        for place, (delta, segments) in self.deltas.items():
            assert delta.grad is not None
            gradient = self.context.unscaled(delta.grad)
            moved = ascend(delta.detach(), gradient, segments, method.learning_rate, method.max_norm, method.norm)
            self.deltas[place] = moved.requires_grad_(), segments
        self.losses = 0
