"""FreeLB (Zhu et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, full, register
from hype_bench.contract.ascent import Climb, ascend, first_delta
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments
from hype_bench.options import Affects, choice, number


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
        source = context.noise("freelb", model)

        def start(embedded: Tensor, segments: Segments) -> Tensor:
            draw = source.uniform(full(embedded.detach()), "delta")
            return first_delta(draw, segments, self.init_magnitude, self.norm)

        def step(delta: Tensor, gradient: Tensor, segments: Segments) -> Tensor:
            return ascend(delta, gradient, segments, self.learning_rate, self.max_norm, self.norm)

        passes = self.steps + (self.passes == "fairseq")
        climb = Climb(model, context, start, step, passes)

        def backward(micro_batches: list[Batch], inner: Backward) -> Tensor:
            replayed = context.rng_snapshot(model)
            with climb.climbing():
                total = inner(micro_batches)
                for _ in range(passes - 1):
                    climb.ascend()
                    with replayed():
                        total = total + inner(micro_batches)
            return total

        return Hooks(loss=climb.loss, backward=backward)
