"""NoisyTune (Wu et al., ACL 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, Part, register
from hype_bench.options import choice, number


def perturb_weight(
    weight: Float[Tensor, "*shape"], draw: Float[Tensor, "*shape"], strength: float
) -> Float[Tensor, "*shape"]:
    """``W + U(-strength/2, strength/2) * std(W)``, elementwise, with the unbiased std of the whole tensor.

    Args:
        weight: of at least two entries (the std of one is NaN).
        draw: U[0, 1).

    Reference: Wu et al. 2022, "NoisyTune: A Little Noise Can Help You Finetune Pretrained Language Models Better",
    arXiv:2202.12024
    """
    return weight + (draw - 0.5) * strength * weight.std()


@register("noisytune")
@dataclass(frozen=True)
class NoisyTune(Method):
    r"""NoisyTune: uniform noise on the pre-trained weights, once, before fine-tuning.

    The noise is proportional to the standard deviation of each tensor, including embeddings, biases and LayerNorm.

    Args:
        strength: lambda; 0.15 in the paper, {0.1, 0.15, 0.2} in HyPe's Table 15.
        scope: `backbone`, the pre-trained parameters, as in the paper; `all`, also the new head, as in HyPe's code.

    Equation:
        W \leftarrow W + U(-\tfrac{\lambda}{2}, \tfrac{\lambda}{2}) \cdot \mathrm{std}(W)

    Reference:
        Wu, Wu, Qi, Huang and Xie 2022, *NoisyTune: A Little Noise Can Help You Finetune Pretrained Language Models
        Better*, ACL 2022, https://aclanthology.org/2022.acl-short.76; no official code found

    Differences:
        The paper perturbs the pre-trained parameters; HyPe's code perturbs the new head too (`scope=all`). The standard
        deviation is torch's unbiased one over the whole tensor, as in all copies of the published snippet. The snippet
        turns a tensor with a single entry into NaN, since its standard deviation is undefined; HyPe's code and this one
        leave such a tensor unchanged.

    Cost:
        None during training.

    When it helps:
        The paper reports small gains on GLUE.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}
    moves_weights = True
    strength: float = number(0.15, least=0)
    scope: str = choice("backbone", "backbone", "all")

    acts_on = frozenset({Part.INITIAL_WEIGHTS})
    capturable = True

    @torch.no_grad()
    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        source = context.noise("noisytune")
        prefix = f"{model.base_model_prefix}." if self.scope == "backbone" else ""
        for name, weight in model.named_parameters():
            if self.strength > 0 and weight.numel() > 1 and name.startswith(prefix):
                weight.copy_(perturb_weight(weight, source.uniform(weight, name), self.strength))
        return Hooks()
