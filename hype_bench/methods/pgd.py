"""PGD on the word embeddings (Madry et al., ICLR 2018; Zhu et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, full, number, register
from hype_bench.contract.ascent import Climb, ascend, first_delta
from hype_bench.contract.gradients import add_gradients, take_gradients
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments
from hype_bench.options import Affects


@register("pgd")
@dataclass(frozen=True)
class PGD(Method):
    r"""PGD: trains on adversarial word embeddings that several passes have searched for.

    K passes climb the loss inside a ball; the gradient of the pass after them alone trains the model. All passes share
    their dropout masks.

    Args:
        steps: number of ascents K.
        learning_rate: step size of the ascent; 5e-2 for CoLA, 4e-2 for MRPC, 1e-1 for SST-2, STS-B and MNLI.
        init_magnitude: size of the first perturbation; 0.4 for CoLA, 0.64 for MRPC, 1 for SST-2, 0.16 for STS-B, 0.2
            for MNLI.
        max_norm: radius of the ball; 0.2 for CoLA and MNLI, 0.4 for MRPC, 0.6 for SST-2, 0.28 for STS-B; 0 means none.

    Equation:
        g = \nabla_\theta \ell(f(e + \delta_K)), \quad \delta_{t+1} = \Pi_{\|\delta\| \le \epsilon} \left( \delta_t +
        \alpha \frac{\nabla_\delta \ell}{\| \nabla_\delta \ell \|_F} \right)

    Reference:
        Madry, Makelov, Schmidt, Tsipras and Vladu 2018, *Towards Deep Learning Models Resistant to Adversarial
        Attacks*, ICLR 2018, https://arxiv.org/abs/1706.06083; on embeddings as the baseline of FreeLB,
        https://arxiv.org/abs/1909.11764, code: zhuchen03/FreeLB, commit eb23701, std_adv_train_step

    Differences:
        The released code divides by the norm of the gradient without a floor, which gives no number where it is 0; here
        such a perturbation stays. The defaults are the released values for MNLI with RoBERTa-large, and 3 steps. The
        popular snippet (K 3, radius 1, step 0.3 on the table, the last gradient added to the clean one) is another
        technique, see `fgm.perturbs`.

    Cost:
        K + 1 passes per update.

    When it helps:
        As the baseline of FreeLB, whose paper reports gains over it on GLUE.
    """

    steps: int = number(3, affects=Affects.NUMBERS | Affects.PACE, least=1, most=1_000)
    learning_rate: float = number(0.1, least=0)
    init_magnitude: float = number(0.2, least=0)
    max_norm: float = number(0.2, least=0)

    acts_on = frozenset({Part.EMBEDDINGS, Part.LOSS, Part.BACKWARD})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        source = context.noise("pgd", model)

        def start(embedded: Tensor, segments: Segments) -> Tensor:
            draw = source.uniform(full(embedded.detach()), "delta")
            return first_delta(draw, segments, self.init_magnitude, "l2")

        def step(delta: Tensor, gradient: Tensor, segments: Segments) -> Tensor:
            return ascend(delta, gradient, segments, self.learning_rate, self.max_norm, "l2")

        climb = Climb(model, context, start, step)

        def backward(micro_batches: list[Batch], inner: Backward) -> Tensor:
            earlier, replayed = take_gradients(model), context.rng_snapshot(model)
            with climb.climbing():
                loss = inner(micro_batches)
                for _ in range(self.steps):
                    climb.ascend()
                    take_gradients(model)
                    with replayed():
                        loss = inner(micro_batches)
            add_gradients(earlier)
            return loss

        return Hooks(loss=climb.loss, backward=backward)
