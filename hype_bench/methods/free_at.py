"""Free adversarial training (Shafahi et al., NeurIPS 2019; Zhu et al., ICLR 2020)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Backward, Batch, Context, Hooks, Method, Part, full, number, register
from hype_bench.contract.ascent import Climb, ascend, first_delta
from hype_bench.contract.randomness import Replay
from hype_bench.models.layers import word_embeddings
from hype_bench.models.segments import Segments
from hype_bench.options import Affects


@register("free_at")
@dataclass(frozen=True)
class FreeAT(Method):
    r"""FreeAT: several updates in a row with one batch, whose word embeddings climb the loss in between.

    Every batch is replayed for K updates and the K - 1 batches after it are left out: a run has as many updates and
    passes as without the technique, on one Kth of the batches. The K updates share their dropout masks.

    Args:
        steps: updates K of one batch.
        learning_rate: step size of the ascent; 1e-1 for QNLI.
        init_magnitude: size of the first perturbation; 0.15 for QNLI.
        max_norm: radius of the ball; 0.15 for QNLI; 0 means none.

    Equation:
        \theta_{t+1} = \theta_t - \eta \frac{\nabla_\theta \ell(f(e + \delta_t))}{1 + K}, \quad \delta_{t+1} =
        \Pi_{\|\delta\| \le \epsilon} \left( \delta_t + \alpha \frac{\nabla_\delta \ell}{\| \nabla_\delta \ell \|_F}
        \right), \quad t = 0, \dots, K - 1

    Reference:
        Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor and Goldstein 2019, *Adversarial Training for
        Free!*, NeurIPS 2019, https://arxiv.org/abs/1904.12843; on embeddings as a baseline of FreeLB,
        https://arxiv.org/abs/1909.11764, code: zhuchen03/FreeLB, commit eb23701, freeat_train_step

    Differences:
        The released code makes K optimizer steps for one step of its schedule. Here each is an update of the run, so
        that the schedule and the budget are those of other techniques; train K times the epochs to see all batches as
        often. The loss is divided by 1 + K, as released, although each update stands alone: Adam does not see the
        factor, clipping does.

    Cost:
        One pass per update.

    When it helps:
        As the baseline of FreeLB, whose paper reports gains over it on GLUE.
    """

    resumable = False  # it holds a batch, and the masks with which it was first seen
    steps: int = number(2, affects=Affects.NUMBERS | Affects.PACE, least=1, most=1_000)
    learning_rate: float = number(0.1, least=0)
    init_magnitude: float = number(0.15, least=0)
    max_norm: float = number(0.15, least=0)

    acts_on = frozenset({Part.EMBEDDINGS, Part.LOSS, Part.BACKWARD, Part.WEIGHTS_AFTER_STEP})

    def check(self, model: PreTrainedModel) -> None:
        word_embeddings(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        source = context.noise("free_at", model)

        def start(embedded: Tensor, segments: Segments) -> Tensor:
            draw = source.uniform(full(embedded.detach()), "delta")
            return first_delta(draw, segments, self.init_magnitude, "l2")

        def step(delta: Tensor, gradient: Tensor, segments: Segments) -> Tensor:
            return ascend(delta, gradient, segments, self.learning_rate, self.max_norm, "l2")

        climb = Climb(model, context, start, step, passes=1 + self.steps)
        replay = _Replay(self.steps, climb, model, context)
        return Hooks(loss=climb.loss, backward=replay.backward, after_step=replay.after_step)


class _Replay:
    """The batch that is in use, and how many updates it has made."""

    def __init__(self, steps: int, climb: Climb, model: PreTrainedModel, context: Context) -> None:
        self.steps, self.climb, self.model, self.context = steps, climb, model, context
        self.micro_batches: list[Batch] = []
        self.updates = 0
        self.masks: Replay = contextlib.nullcontext

    def backward(self, micro_batches: list[Batch], inner: Backward) -> Tensor:
        is_new = not self.micro_batches
        if is_new:
            self.micro_batches, self.masks = micro_batches, self.context.rng_snapshot(self.model)
        with self.climb.climbing(keeps=True), contextlib.nullcontext() if is_new else self.masks():
            loss = inner(self.micro_batches)
            self.climb.ascend()
        return loss

    def after_step(self, optimizer: Optimizer) -> None:
        self.updates += 1
        if self.updates % self.steps == 0:
            self.climb.deltas.clear()
            self.micro_batches = []
