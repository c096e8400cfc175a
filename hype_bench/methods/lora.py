"""LoRA (Hu et al., ICLR 2022), also from the principal components of the weights (PiSSA, CorDA)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, UserError, choice, forward_of, full, number, register
from hype_bench.contract.adapters import adapted_layers
from hype_bench.contract.low_rank import LowRank


class Components(NamedTuple):
    """A matrix as ``left diag(values) right``, the largest values first."""

    left: Float[Tensor, "outputs rank"]
    values: Float[Tensor, " rank"]
    right: Float[Tensor, "rank inputs"]

    def factors(self, rank: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """B and A, whose product times ``scale`` are the first ``rank`` components; both have half of the values."""
        root = (self.values[:rank] / scale).sqrt()
        return self.left[:, :rank] * root, root[:, None] * self.right[:rank]


def principal(weight: Float[Tensor, "outputs inputs"]) -> Components:
    """The singular value decomposition: PiSSA's components.

    Reference: Meng, Wang and Zhang 2024, "PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large
    Language Models", arXiv:2404.02948
    """
    return Components(*torch.linalg.svd(full(weight), full_matrices=False))


def in_context(weight: Float[Tensor, "outputs inputs"], covariance: Float[Tensor, "inputs inputs"]) -> Components:
    """The singular value decomposition of ``weight @ covariance``, led back to the weight: CorDA's components.

    The covariance gets 1 % of its mean variance on the diagonal, doubled until its inverse is one.

    Reference: Yang et al. 2024, "CorDA: Context-Oriented Decomposition Adaptation of Large Language Models for
    Task-Aware Parameter-Efficient Fine-tuning", arXiv:2406.05223
    """
    covariance, damping = full(covariance), 0.01
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    while True:
        damped = covariance + damping * covariance.diagonal().mean() * identity
        inverse = torch.linalg.inv(damped)
        if torch.dist(damped @ inverse, identity) < 0.05:
            break
        damping *= 2
    left, values, right = torch.linalg.svd(full(weight) @ damped, full_matrices=False)
    return Components(left, values, right @ inverse)


def second_moment(inputs: Float[Tensor, "*positions inputs"]) -> Float[Tensor, "inputs inputs"]:
    """``X^T X`` of what a map reads, relative to its largest entry."""
    rows = full(inputs).flatten(0, -2)
    rows = rows / rows.max().abs()
    return rows.T @ rows


@register("lora")
@dataclass(frozen=True)
class LoRA(LowRank):
    r"""LoRA: trains low-rank additions to frozen linear maps.

    The linear maps of the encoder layers become W x + B A x * alpha / rank. Only A, B and the head are trained. At the
    end the products are merged into the weights, which leaves a plain model.

    Args:
        rank: rank r of the addition; 8 in peft.
        alpha: numerator of the scale; 8 in peft.
        dropout: dropout on the input of A.
        target: `query_value`, the choice of the paper for most experiments, or `all` linear maps of the layers.
        rank_stabilized: whether the scale is alpha / sqrt(rank) (rsLoRA).
        init: where A and B start: `default`, A random and B 0; `pissa`, the largest singular values and vectors of the
            weight; `corda`, those of the weight times the covariance of its inputs in the task's texts. The frozen part
            is then what is left of the weight.
        samples: training examples of which `corda` takes the covariance; 256 in the released code.

    Equation:
        h = W_0 x + \frac{\alpha}{r} B A x, \quad B_0 = 0

    Reference:
        Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2022, *LoRA: Low-Rank Adaptation of Large Language Models*,
        ICLR 2022, https://arxiv.org/abs/2106.09685; computed by the peft library; rsLoRA: Kalajdzievski 2023,
        https://arxiv.org/abs/2312.03732; PiSSA: Meng, Wang and Zhang 2024, https://arxiv.org/abs/2404.02948, code:
        GraphPKU/PiSSA, commit 87f4db6; CorDA: Yang et al. 2024, https://arxiv.org/abs/2406.05223, code: iboing/CorDA,
        commit baffb03

    Differences:
        The layers and the defaults are those of peft. `target=all` means the linear maps of the layers; choosing them
        by the name `dense` would include the pooler. XLNet has its attention matrices outside of linear modules:
        `target=query_value` is refused for it, and `target=all` covers its feed-forward blocks. DeBERTa and ModernBERT
        compute query, key and value with one map, so that the key is adapted too. Learning rates are around 1e-4 to
        1e-3, where full fine-tuning takes 1e-5: set `training.learning_rate`.

        PiSSA and CorDA train what the weights hold already, so that A and B have no weight decay, as published, and the
        same learning rate moves the weights much further: theirs is 2e-5, with `target=all`, alpha equal to the rank
        and no dropout. CorDA is the form for a new task (the first r components). The released code divides the
        covariance by 256 whatever the number of samples, which changes how the values are shared between A and B; as in
        peft, it is their mean here.

    Cost:
        One pass per update; about 1 % of the parameters have gradients and optimizer state. PiSSA and CorDA decompose
        each map at the start, a second for a matrix of 768 x 768; CorDA runs the samples through the model.

    When it helps:
        The paper reports the scores of full fine-tuning on GLUE with RoBERTa and DeBERTa.
    """

    name = "lora"
    rank_stabilized: bool = False
    init: str = choice("default", "default", "pissa", "corda", added_later=True)
    samples: int = number(256, added_later=True, least=1)

    @property
    def variant(self) -> dict[str, Any]:
        return {"use_rslora": self.rank_stabilized}

    def check(self, model: PreTrainedModel) -> None:
        smallest = min(min(model.get_submodule(name).weight.shape) for name in self.maps(model))  # type: ignore[arg-type]
        if self.init != "default" and self.rank > smallest:
            raise UserError(f"lora.rank={self.rank} with lora.init={self.init} must be at most {smallest}")

    @property
    def undecayed(self) -> str:
        return ".lora_" if self.init != "default" else ""

    def adapt(self, model: PreTrainedModel, context: Context) -> Any:
        covariances = self._covariances(model, context) if self.init == "corda" else {}
        tuner = super().adapt(model, context)
        if self.init != "default":
            for name, layer in adapted_layers(tuner).items():
                weight = layer.get_base_layer().weight
                parts = in_context(weight, covariances[name]) if covariances else principal(weight)
                _start_from(layer, parts, self.rank)
        return tuner

    @torch.no_grad()
    def _covariances(self, model: PreTrainedModel, context: Context) -> dict[str, Tensor]:
        """Of the inputs of each map, the mean over examples that are run one at a time, without padding."""
        sums: dict[str, Tensor] = {}
        calls: dict[str, int] = {}

        def add(name: str, module: Any, args: tuple[Tensor, ...]) -> None:
            sums[name] = sums.get(name, 0) + second_moment(args[0])
            calls[name] = calls.get(name, 0) + 1

        handles = [model.get_submodule(n).register_forward_pre_hook(partial(add, n)) for n in self.maps(model)]
        was_training, forward = model.training, forward_of(model)
        model.eval()
        for batch in itertools.islice(context.needs("lora", "batches")(1), self.samples):
            forward(batch)
        model.train(was_training)
        for handle in handles:
            handle.remove()
        return {name: total / calls[name] for name, total in sums.items()}


@torch.no_grad()
def _start_from(layer: Any, parts: Components, rank: int) -> None:
    """Moves the first components from the frozen weight into A and B."""
    weight, scale = layer.get_base_layer().weight, layer.scaling["default"]
    b, a = parts.factors(rank, scale)
    layer.lora_A["default"].weight.copy_(a)
    layer.lora_B["default"].weight.copy_(b)
    weight.copy_(full(weight) - scale * (b @ a))
