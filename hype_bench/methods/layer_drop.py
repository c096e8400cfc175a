"""LayerDrop (Fan et al., ICLR 2020)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, NoiseSource, Part, number, register
from hype_bench.models.layers import encoder_layers


def runs(draw: float, p: float) -> bool:
    """Whether a layer runs: one draw from U[0, 1) a layer and pass.

    Reference: Fan, Grave and Joulin 2020, "Reducing Transformer Depth on Demand with Structured Dropout",
    arXiv:1909.11556
    """
    return draw > p


@register("layer_drop")
@dataclass(frozen=True)
class LayerDrop(Method):
    r"""LayerDrop: in training, whole layers are left out at random.

    A layer that is left out hands on what enters it, for the whole batch, noise on its input (HyPe) included. Nothing
    is scaled; all layers run when the model is scored.

    Args:
        p: the probability that a layer is left out; 0.2 is recommended for pre-training.

    Equation:
        h_{l+1} = \begin{cases} \mathrm{layer}_l(h_l) & u_l > p \\ h_l & \text{else} \end{cases}, \quad u_l \sim U(0, 1)

    Reference:
        Fan, Grave and Joulin 2020, *Reducing Transformer Depth on Demand with Structured Dropout*, ICLR 2020,
        https://arxiv.org/abs/1909.11556; code: facebookresearch/fairseq, commit 3d262bb, fairseq/modules/layer_drop.py

    Differences:
        The recommended 0.2 is for a model that was pre-trained with it. A model that never met a missing layer should
        start at 0.05 to 0.1; the default of 0.1 is a choice of this project. As released, all layers may be left out.

    Cost:
        One pass per update, on average without the share p of its layers.

    When it helps:
        The paper reports models that can be pruned, and a regularising effect in pre-training.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"p": 0.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"p": 0.4}
    p: float = number(0.1, least=0, below=1)

    needs_every_token = True
    acts_on = frozenset({Part.LAYER_INPUTS, Part.LAYER_OUTPUTS})

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.p == 0:
            return Hooks()
        source = context.noise("layer_drop", model)
        for index, layer in enumerate(encoder_layers(model)):
            plain = layer.forward
            layer.__dict__["forward"] = _Skipping(layer, plain, source, f"layer {index}", self.p, context)
            context.cleanup.callback(_restore, layer)
        return Hooks()


def _restore(layer: nn.Module) -> None:
    layer.__dict__.pop("forward", None)


class _Skipping:
    """The forward method of a layer that may be left out. Its output has the form that it had when the layer ran."""

    def __init__(
        self, layer: nn.Module, plain: Callable[..., Any], source: NoiseSource, site: str, p: float, context: Context
    ) -> None:
        self.layer, self.plain, self.source, self.site, self.p, self.context = layer, plain, source, site, p, context
        self.others: int | None = None  # what the layer returns beside the hidden states; None: it returns them alone
        self.is_known = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        draw = float(self.source.uniform(torch.empty((), dtype=torch.float64), self.site))
        is_left_out = self.layer.training and not runs(draw, self.p)
        if is_left_out and self.is_known:
            return args[0] if self.others is None else (args[0], *[None] * self.others)
        with self.context.rng_preserved(self.layer) if is_left_out else contextlib.nullcontext():
            output = self.plain(*args, **kwargs)
        self.is_known, self.others = True, len(output) - 1 if isinstance(output, tuple) else None
        if not is_left_out:
            return output
        return args[0] if self.others is None else (args[0], *output[1:])
