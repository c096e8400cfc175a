"""The scaled parallel adapter (He et al., ICLR 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, NoiseSource, Part, number, register
from hype_bench.contract.freeze import train_only
from hype_bench.models.layers import encoder_layers, feed_forward_maps, head_parameters

_NAME = "parallel_adapter"


def adapted(
    x: Float[Tensor, "*positions width"],
    down: Float[Tensor, "bottleneck width"],
    down_bias: Float[Tensor, " bottleneck"],
    up: Float[Tensor, "width bottleneck"],
    up_bias: Float[Tensor, " width"],
    scale: float,
) -> Float[Tensor, "*positions width"]:
    """``scale (relu(x D^T + d) U^T + e)``: what is added to the output of a feed-forward part that reads x.

    Reference: He, Zhou, Ma, Berg-Kirkpatrick and Neubig 2022, "Towards a Unified View of Parameter-Efficient Transfer
    Learning", arXiv:2110.04366
    """
    return scale * F.linear(F.linear(x, down, down_bias).relu(), up, up_bias)


class _Beside(nn.Module):
    """The weights of one adapter: no linear modules, or other techniques would take them for the encoder's."""

    def __init__(self, like: Tensor, bottleneck: int, source: NoiseSource, site: str) -> None:
        super().__init__()
        width = like.shape[1]
        drawn = source.uniform(like.new_empty(bottleneck, width), site)
        self.down = nn.Parameter((2 * drawn - 1) / math.sqrt(width))  # Kaiming's uniform law with a = sqrt 5
        self.down_bias = nn.Parameter(like.new_zeros(bottleneck))
        self.up = nn.Parameter(like.new_zeros(width, bottleneck))
        self.up_bias = nn.Parameter(like.new_zeros(width))


@register("parallel_adapter")
@dataclass(frozen=True)
class ParallelAdapter(Method):
    r"""Parallel adapter: trains a small network with a ReLU beside each feed-forward part, and nothing else.

    It reads what the feed-forward part reads and is added to its output, before dropout, residual connection and
    LayerNorm. The encoder is frozen.

    Args:
        bottleneck: features inside the adapter; 16 in the released command for GLUE.
        scale: factor of what is added, so that `noise_scale` does not set it; 2 in the released command for GLUE, 4 in
            the paper for summarisation.

    Equation:
        \mathrm{FFN}(x) \leftarrow \mathrm{FFN}(x) + s \left( U \, \mathrm{ReLU}(D x + d) + e \right), \quad U_0 = 0

    Reference:
        He, Zhou, Ma, Berg-Kirkpatrick and Neubig 2022, *Towards a Unified View of Parameter-Efficient Transfer
        Learning*, ICLR 2022, https://arxiv.org/abs/2110.04366; code: jxhe/unify-parameter-efficient-tuning, commit
        3222ce2, petl/petl_factory.py

    Differences:
        This is the half of the Mix-And-Match adapter that the paper finds to do most; its other half, a prefix of 16
        keys and values in attention, is `prefix_tuning`, and the two cannot be combined here, since each decides on
        what is trained. Published with a learning rate of 1e-4 and a weight decay of 0.1 over 10 epochs: set
        `training.learning_rate`.

    Cost:
        One pass per update; about 0.3 % of the parameters have gradients and optimizer state, and every later pass of
        the model has the adapters in it.

    When it helps:
        The paper reports more than LoRA and sequential adapters with as many parameters, most on summarisation and
        translation.
    """

    unmerged = "adapters beside the feed-forward parts"
    bottleneck: int = number(16, least=1)
    scale: float = number(2.0, above=0)

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.TRAINED_ENTRIES})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        for layer in encoder_layers(model):
            feed_forward_maps(layer)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, source = head_parameters(model), context.noise(_NAME)
        for index, layer in enumerate(encoder_layers(model)):
            first, last = feed_forward_maps(layer)
            beside = _Beside(first.weight.detach(), self.bottleneck, source, f"layer {index}")
            layer.add_module(_NAME, beside)
            self._attach(beside, first, last)
        train_only(model, context, lambda name, p: f".{_NAME}." in name or p in head)
        return Hooks()

    def _attach(self, beside: _Beside, first: nn.Module, last: nn.Module) -> None:
        """Adds to the output of ``last`` what the adapter makes of the input of ``first``, for good."""
        inputs: list[Tensor] = []

        def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            inputs[:] = args[:1]

        def add(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            weights = beside.down, beside.down_bias, beside.up, beside.up_bias
            return output + adapted(inputs.pop(), *weights, self.scale)

        first.register_forward_pre_hook(keep)
        last.register_forward_hook(add)
