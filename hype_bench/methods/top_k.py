"""Top-K tuning (Houlsby et al., ICML 2019; HyPe, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from hype_bench.contract import Context, Exclusive, Hooks, Method, Part, register
from hype_bench.contract.freeze import train_only
from hype_bench.models.layers import depths, encoder_layers
from hype_bench.options import UserError, number


@register("top_k")
@dataclass(frozen=True)
class TopK(Method):
    r"""Top-K tuning: only the k highest layers, the pooler and the head are trained.

    Args:
        k: number of layers that are trained; null for the upper half, 0 for pooler and head alone.

    Equation:
        \theta_{\text{embeddings}}, \theta_1, \dots, \theta_{L-k} \text{ fixed}

    Reference:
        Houlsby, Giurgiu, Jastrzebski, Morrone, de Laroussilhe, Gesmundo, Attariyan and Gelly 2019, *Parameter-Efficient
        Transfer Learning for NLP*, ICML 2019, https://arxiv.org/abs/1902.00751 (as a baseline); HyPe, section 2; no
        official code

    Differences:
        The grid of k behind HyPe's row was not found; the upper half is a choice of this project.

    Cost:
        One pass per update; the backward pass stops at the lowest trained layer, and frozen weights have no optimizer
        state.

    When it helps:
        As a baseline: it shows what there is to gain from training the lower layers.
    """

    k: int | None = number(None, least=0)

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS})
    acts_on = frozenset({Part.TRAINED_WEIGHTS})
    capturable = True

    def check(self, model: PreTrainedModel) -> None:
        layers = len(encoder_layers(model))
        if self.k is not None and self.k > layers:
            raise UserError(f"top_k.k must be at most {layers}, the layers of this encoder, not {self.k}")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        layers = len(encoder_layers(model))
        k = (layers + 1) // 2 if self.k is None else self.k
        height = depths(model)
        train_only(model, context, lambda _, parameter: height[parameter] > layers - k)
        return Hooks()
