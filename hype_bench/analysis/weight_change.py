"""How far training has moved the weights of each layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.analysis.measuring.by_layer import by_layer
from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.contract.context import Context
from hype_bench.contract.registry import build
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError, choice


def change(before: Iterable[Tensor], after: Iterable[Tensor]) -> dict[str, float]:
    """The change of weights, taken as one vector.

    Returns:
        ``relative_l1`` and ``relative_l2``: the norm of the change over that of the weights before; ``l1``: the mean
        absolute change of a weight.
    """
    sums = torch.zeros(5, dtype=torch.float64)
    for start, end in zip(before, after, strict=True):
        moved, weight = (end.detach().cpu() - start.detach().cpu()).double(), start.detach().cpu().double()
        norms = [moved.abs().sum(), weight.abs().sum(), moved.square().sum(), weight.square().sum()]
        sums += torch.stack([*norms, moved.new_tensor(moved.numel())])
    l1, l1_before, squared, squared_before, entries = sums.tolist()
    return {"relative_l1": l1 / l1_before, "relative_l2": (squared / squared_before) ** 0.5, "l1": l1 / entries}


@dataclass(frozen=True)
class WeightChange(Analysis):
    """How far training has moved the encoder's weights, in all and layer by layer.

    ``relative_l1`` is ``|W_end - W_start|_1 / |W_start|_1`` over all weights of a part; the record also has
    ``relative_l2``, the same with the Euclidean norm, and ``l1``, the mean absolute change of a weight. The first score
    is that of the encoder; beside it stand ``layer_0``, the embeddings and what else is outside of the layers, and
    every layer. Pooler and head are left out. Differences are computed in float32 and summed in float64.

    Args:
        since: `update_0`, from the weights with which training began, those that NoisyTune has perturbed or `reinit`
            drawn anew; or `checkpoint`, from the pre-trained ones.

    Claim: with NoisyTune, weights move less in fine-tuning than without it.

    Source: Wu et al. 2022, "NoisyTune", ACL, https://aclanthology.org/2022.acl-short.76, no published code; how it
    sums the change is not in our copy of the paper

    Cost: the run, if its weights were not kept; no pass.
    """

    metric = "relative_l1"
    since: str = choice("update_0", "update_0", "checkpoint")

    def measure(self, trained: Trained) -> Measured:
        start = trained.start()
        if self.since == "update_0":
            _move_weights(trained, start)
        before, after = (_parts(model) for model in (start, trained.model))
        if [len(part) for part in before] != [len(part) for part in after]:
            raise UserError("analysis.weight_change: the weights of the run are not those of its checkpoint's encoder")
        measured = by_layer([change(*pair) for pair in zip(before, after, strict=True)], len(trained.data.train))
        whole = change(chain.from_iterable(before), chain.from_iterable(after))
        measured.scores = {"encoder": whole, **measured.scores}
        measured.rows = {"encoder": len(trained.data.train), **measured.rows}
        return measured


def _move_weights(trained: Trained, model: PreTrainedModel) -> None:
    """What techniques that change weights do before the first update, once more."""
    run = trained.run
    context = Context(seed=run.seed, precision=run.training.precision)
    for method in build(run.methods).values():
        if method.moves_weights:
            method.prepare(model, context)


def _parts(model: PreTrainedModel) -> list[list[Tensor]]:
    """The weights outside of the layers, and those of each layer."""
    layers: list[list[Tensor]] = [list(layer.parameters()) for layer in encoder_layers(model)]
    inside = {id(weight) for layer in layers for weight in layer}
    outside: list[Tensor] = [
        w for name, w in model.base_model.named_parameters() if id(w) not in inside and "pooler" not in name
    ]
    return [outside, *layers]
