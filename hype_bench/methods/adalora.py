"""AdaLoRA (Zhang et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Forward, Hooks, Loss, Part, UserError, choice, number, register
from hype_bench.contract.adapters import Adapter, adapted_layers, merged


def distance_from_orthogonality(a: list[Tensor], b: list[Tensor]) -> Float[Tensor, ""]:
    """The mean of ``||A A^T - I||`` and ``||B^T B - I||`` over all maps, in Frobenius' norm.

    Args:
        a: (rank, inputs) each.
        b: (outputs, rank) each.
    """
    products = torch.stack([x @ x.T for x in a] + [x.T @ x for x in b])
    identity = torch.eye(products.shape[-1], dtype=products.dtype, device=products.device)
    mean: Tensor = torch.linalg.matrix_norm(products - identity).mean()
    return mean


@torch.no_grad()
def smooth_(
    sensitivity: list[Tensor], uncertainty: list[Tensor], weights: Sequence[nn.Parameter], beta1: float, beta2: float
) -> None:
    """Moves the averages, in place, towards ``|weight * gradient|`` and towards how far that is from its average; a
    weight of a layer that was left out has a gradient of 0."""
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    now = list(torch._foreach_mul(list(weights), gradients))
    torch._foreach_abs_(now)
    torch._foreach_lerp_(sensitivity, now, 1 - beta1)
    torch._foreach_sub_(now, sensitivity)
    torch._foreach_abs_(now)
    torch._foreach_lerp_(uncertainty, now, 1 - beta2)


def importance(
    e: Float[Tensor, "rank 1"], a: Float[Tensor, "rank inputs"], b: Float[Tensor, "outputs rank"]
) -> Float[Tensor, " rank"]:
    """Of each triplet of one map, from the products of sensitivity and uncertainty of its entries."""
    return e.flatten() + a.mean(1) + b.mean(0)


def unimportant(scores: Float[Tensor, " triplets"], kept: int) -> Bool[Tensor, " triplets"]:
    """True for all but the ``kept`` triplets with the highest scores."""
    return scores <= scores.kthvalue(len(scores) - kept).values


def budget(update: int, start: int, end: int, first: int, last: int) -> int:
    """How many triplets stay: ``first`` up to the update ``start``, ``last`` from ``end`` on, a cubic between them.

    Reference: Zhang et al. 2023, "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
    arXiv:2303.10512
    """
    remaining = 1 - (min(max(update, start), end) - start) / (end - start)
    return int(last + (first - last) * remaining**3)


@register("adalora")
@dataclass(frozen=True)
class AdaLoRA(Adapter):
    r"""AdaLoRA: LoRA that moves its rank to the maps where it matters.

    The addition of a map is a sum of triplets B_i E_i A_i, singular vectors and a singular value. While training goes
    on, the values of the least important ones over all maps are set to 0, until the budget is reached. At the end the
    products are merged into the weights, which leaves a plain model.

    Args:
        rank: triplets of each map at the start; 2 in the released commands for RTE and STS-B.
        target_rank: triplets of a map that are left on average; 1 in the released commands.
        alpha: numerator of the scale alpha / rank; 32 in the released commands.
        dropout: dropout on the input of A.
        target: `all` linear maps of the layers, as published, or `query_value`.
        initial: share of the updates before the budget falls; 600 of 3,900 in the released command for RTE.
        final: share of the updates after it has fallen; 1,800 of 3,900 for RTE.
        interval: updates between two allocations; 1 for RTE, 10 for STS-B.
        beta1: momentum of the sensitivity of an entry.
        beta2: momentum of the uncertainty of that sensitivity.
        orthogonality: weight of the term that keeps A and B orthogonal; 0.3 for RTE and STS-B, 0.1 for SST-2.

    Equation:
        W = W_0 + \frac{\alpha}{r} B E A, \quad L + \gamma \left( \lVert A A^\top - I \rVert + \lVert B^\top B - I
        \rVert \right), \quad E_i \leftarrow 0 \text{ unless } S_i \text{ is among the } b(t) \text{ highest}

    Reference:
        Zhang, Chen, Bukharin, Karampatziakis, He, Cheng, Chen and Zhao 2023, *AdaLoRA: Adaptive Budget Allocation for
        Parameter-Efficient Fine-Tuning*, ICLR 2023, https://arxiv.org/abs/2303.10512; code: QingruZhang/AdaLoRA, commit
        f6968aa, NLU/scripts; the maps are computed by the peft library

    Differences:
        The released commands count warm-ups in updates of 25 to 50 epochs; here they are shares of the run. As
        released, the norm of the orthogonality term is not squared and its mean is over A and B of all maps, and the
        gradient meets the weight after the step. Updates count from 1, so that the last allocation is reached in a run
        of any length; from 0 in the released code. Learning rates are 1.2e-3 (RTE) and 2.2e-3 (STS-B): set
        `training.learning_rate`. XLNet has its attention matrices outside of linear modules: only its feed-forward
        blocks are adapted.

    Cost:
        One pass per update, the orthogonality term, and averages of the size of A and B.

    When it helps:
        The paper reports 0.5 to 1 point over LoRA on GLUE with DeBERTa-v3, most with few parameters.
    """

    name = "adalora"
    tiny_options: ClassVar[Mapping[str, Any]] = {"rank": 4, "target_rank": 3}  # every map keeps one
    rank: int = number(2, least=2)
    target_rank: int = number(1, least=1)
    alpha: float = number(32.0, above=0)
    dropout: float = number(0.0, least=0, below=1)
    target: str = choice("all", "query_value", "all")
    initial: float = number(0.15, least=0, below=1)
    final: float = number(0.45, least=0, below=1)
    interval: int = number(1, least=1)
    beta1: float = number(0.85, above=0, below=1)
    beta2: float = number(0.85, above=0, below=1)
    orthogonality: float = number(0.3, least=0)

    @property
    def acts_on(self) -> frozenset[Part]:
        return super().acts_on | {Part.LOSS, Part.WEIGHTS_AFTER_STEP}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_rank >= self.rank:
            raise UserError(f"target_rank must be below rank={self.rank}, not {self.target_rank}")
        if self.initial + self.final >= 1:
            raise UserError(f"initial must be below 1 - final = {1 - self.final:g}, not {self.initial:g}")

    def config(self, model: PreTrainedModel, context: Context) -> Any:
        from peft import AdaLoraConfig

        return AdaLoraConfig(
            init_r=self.rank,
            target_r=self.target_rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=self.maps(model),
            total_step=context.needs(self.name, "updates"),
        )

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        tuner = self.adapt(model, context)
        hooks = Hooks.of(_Allocation(self, list(adapted_layers(tuner).values()), context.needs(self.name, "updates")))
        return replace(hooks, plain_weights=partial(merged, tuner))


class _Allocation:
    """What each triplet is worth, and which of them stay."""

    def __init__(self, options: AdaLoRA, layers: list[Any], updates: int) -> None:
        self.options, self.update, self.maps = options, 0, len(layers)
        self.e, self.a, self.b = (
            [getattr(layer, f"lora_{part}")["default"] for layer in layers] for part in ("E", "A", "B")
        )
        self.start = int(options.initial * updates)
        self.end = max(2, updates - int(options.final * updates))  # there is no score before the second update
        self.sensitivity, self.uncertainty = ([torch.zeros_like(w) for w in self._weights()] for _ in range(2))

    def loss(self, batch: Batch, forward: Forward, next: Loss) -> tuple[Tensor, Any]:
        task, output = next(batch, forward)
        return task + self.options.orthogonality * distance_from_orthogonality(self.a, self.b), output

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        options, first, last = self.options, self.options.rank * self.maps, self.options.target_rank * self.maps
        self.update += 1
        if self.update < self.end:
            smooth_(self.sensitivity, self.uncertainty, self._weights(), options.beta1, options.beta2)
        kept = budget(self.update, self.start, self.end, first, last)
        if kept < first and (self.update % options.interval == 0 or self.update >= self.end):
            out = unimportant(self._scores(), kept)
            torch._foreach_mul_(self.e, [(~mask).to(self.e[0].dtype)[:, None] for mask in out.split(options.rank)])

    def _scores(self) -> Float[Tensor, " triplets"]:
        products = torch._foreach_mul(self.sensitivity, self.uncertainty)
        parts = (products[place::3] for place in range(3))
        return torch.cat([importance(*triplets) for triplets in zip(*parts, strict=True)])

    def _weights(self) -> list[nn.Parameter]:
        return [weight for triplet in zip(self.e, self.a, self.b, strict=True) for weight in triplet]
