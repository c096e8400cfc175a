"""DoRA (Liu et al., ICML 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from hype_bench.contract import register
from hype_bench.contract.low_rank import LowRank


def decomposed(
    weight: Float[Tensor, "outputs inputs"],
    change: Float[Tensor, "outputs inputs"],
    magnitude: Float[Tensor, " outputs"],
) -> Float[Tensor, "outputs inputs"]:
    """``m (W + dW) / ||W + dW||``, with a norm for each output, through which no gradient goes.

    Reference: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", arXiv:2402.09353
    """
    moved = weight + change
    factor: Tensor = magnitude / torch.linalg.norm(moved.detach(), dim=1)
    return factor[:, None] * moved


@register("dora")
@dataclass(frozen=True)
class DoRA(LowRank):
    r"""DoRA: trains low-rank additions to the directions of frozen weights, and the magnitudes by themselves.

    Each row of a weight is its length times a direction. Lengths are trained as they are, directions by a low-rank
    addition as in LoRA. At the end both are merged into the weights, which leaves a plain model.

    Args:
        rank: rank r of the addition; 8 in peft.
        alpha: numerator of the scale; 8 in peft.
        dropout: dropout on the input; 0 in peft, 0.05 in the released commands.
        target: `query_value`, or `all` linear maps of the layers.

    Equation:
        W = m \frac{W_0 + \frac{\alpha}{r} B A}{\lVert W_0 + \frac{\alpha}{r} B A \rVert}, \quad B_0 = 0, \quad m_0 =
        \lVert W_0 \rVert

    Reference:
        Liu, Wang, Yin, Molchanov, Wang, Cheng and Chen 2024, *DoRA: Weight-Decomposed Low-Rank Adaptation*, ICML 2024,
        https://arxiv.org/abs/2402.09353; computed by the peft library

    Differences:
        Published for language models and their instructions, with rank 16 to 32 on all maps but the attention's output;
        settings for encoders were not found, so that rank, alpha and maps are LoRA's here. As in the released code, no
        gradient goes through the norm; magnitudes have no weight decay, which the released commands do not have at all.
        What the paper calls columns are rows in torch: a norm for each output. Learning
        rates are around 1e-4 to 1e-3: set `training.learning_rate`. XLNet has its attention matrices outside of linear
        modules: use `target=all`.

    Cost:
        One pass per update, and in it the product B A and the norms of each adapted map; parameters as in LoRA.

    When it helps:
        The paper reports gains over LoRA, most at low ranks.
    """

    name = "dora"
    tiny_options: ClassVar[Mapping[str, Any]] = {"target": "all"}

    @property
    def variant(self) -> dict[str, Any]:
        return {"use_dora": True}

    @property
    def undecayed(self) -> str:
        return ".lora_magnitude_vector."
