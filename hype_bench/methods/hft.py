"""HFT (Hui et al., ACL 2025)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.contract.freeze import train_only
from hype_bench.contract.noise import seed_of
from hype_bench.models.layers import attention_block, encoder_layers, is_layer_norm
from hype_bench.options import UserError

Unit = list[nn.Parameter]  # what is frozen or trained together


def matrices(block: nn.Module, exclude: nn.Module | None = None) -> list[Unit]:
    """The matrices of a block, each with its bias; LayerNorm and XLNet's biases without a matrix are left out."""
    inside = set(exclude.modules()) if exclude is not None else set()
    units: list[Unit] = []
    for module in block.modules():
        if module in inside or is_layer_norm(module):
            continue
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, nn.Linear):
            units.append(list(own.values()))
        else:  # XLNet keeps its attention matrices as (width, heads, head width)
            units += [[p] for p in own.values() if p.dim() == 3 and p.shape[0] > 2]
    return units


def frozen_units(layers: list[nn.Module], draw: random.Random) -> list[Unit]:
    """Half of each layer's attention matrices; of the feed-forward matrices the smaller half in a random half of the
    layers and the larger half in the others (of two: one each); a random half of all LayerNorms."""
    generous = set(draw.sample(range(len(layers)), len(layers) // 2))
    frozen: list[Unit] = []
    norms: list[Unit] = []
    for index, layer in enumerate(layers):
        attention = matrices(attention_block(layer))
        forward = matrices(layer, exclude=attention_block(layer))
        frozen += draw.sample(attention, len(attention) // 2)
        half = len(forward) // 2 if index in generous else (len(forward) + 1) // 2
        frozen += draw.sample(forward, half)
        norms += [list(m.parameters()) for m in layer.modules() if is_layer_norm(m)]
    return frozen + draw.sample(norms, len(norms) // 2)


@register("hft")
@dataclass(frozen=True)
class HFT(Method):
    r"""HFT: a random half of the matrices of every layer is frozen.

    Half Fine-Tuning also freezes a random half of the LayerNorms; embeddings, pooler and head are trained. The choice
    depends on the seed of the run.

    Equation:
        \theta_{\text{random half}} \text{ fixed}

    Reference:
        Hui, Zhang, Wang, Xu, Sun and Wu 2025, *HFT: Half Fine-Tuning for Large Language Models*, ACL 2025,
        https://arxiv.org/abs/2404.18466; no official code found

    Differences:
        The paper describes language models with four attention matrices and three feed-forward matrices per layer. Two
        of the four are trained, and of the three two in a random half of the layers and one in the others. For two
        feed-forward matrices, as in BERT, the paper says nothing; one of them is trained. The bias of a linear map is
        frozen with its matrix; other biases are trained. The paper draws a new half in every round of continual
        training; a run here is one round.

    Cost:
        One pass per update; frozen weights have neither gradients nor optimizer state.

    When it helps:
        The paper reports less forgetting, and the scores of full fine-tuning with any fraction from 40 to 60 %.
    """

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS})
    acts_on = frozenset({Part.TRAINED_WEIGHTS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        for layer in encoder_layers(model):
            block = attention_block(layer)
            if not (matrices(block) and matrices(layer, exclude=block)):
                raise UserError(f"hft cannot work for {model.config.model_type}: its layers have no linear maps")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        units = frozen_units(encoder_layers(model), random.Random(seed_of(f"{context.seed}/hft")))
        frozen = {p for unit in units for p in unit}
        train_only(model, context, lambda _, p: p not in frozen)
        return Hooks()
