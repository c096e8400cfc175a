"""LayerDrop (Fan et al., ICLR 2020)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, NoiseSource, Part, UserError, choice, number, register
from hype_bench.contract.activations import change_output, current_segments
from hype_bench.models.layers import attention_output, encoder_layers, feed_forward_maps


def runs(draw: float, p: float) -> bool:
    """Whether a layer runs: one draw from U[0, 1) a layer and pass.

    Reference: Fan, Grave and Joulin 2020, "Reducing Transformer Depth on Demand with Structured Dropout",
    arXiv:1909.11556
    """
    return draw > p


def kept_branch(
    branch: Float[Tensor, "*positions width"],
    keep: Bool[Tensor, " examples"],
    owners: Int[Tensor, "*positions"],
    p: float,
) -> Float[Tensor, "*positions width"]:
    """What is added to the residual path: 0 where an example's branch is dropped, else scaled by ``1 / (1 - p)``.

    Reference: Huang et al. 2016, "Deep Networks with Stochastic Depth", arXiv:1603.09382
    """
    return branch * (keep.to(branch.dtype) / (1 - p))[owners].unsqueeze(-1)


@register("layer_drop")
@dataclass(frozen=True)
class LayerDrop(Method):
    r"""LayerDrop: in training, whole layers are left out at random.

    A layer that is left out hands on what enters it, for the whole batch, noise on its input (HyPe) included. Nothing
    is scaled; all layers run when the model is scored.

    Args:
        p: the probability that a layer is left out; 0.2 is recommended for pre-training. Of branches that of the top
            layer; it rises linearly from 0 in the lowest one.
        unit: `layer`, for the whole batch; `branch`, stochastic depth: attention and feed-forward part of a layer, for
            each example others, the rest scaled up.

    Equation:
        h_{l+1} = \begin{cases} \mathrm{layer}_l(h_l) & u_l > p \\ h_l & \text{else} \end{cases}, \quad u_l \sim U(0, 1)

    Reference:
        Fan, Grave and Joulin 2020, *Reducing Transformer Depth on Demand with Structured Dropout*, ICLR 2020,
        https://arxiv.org/abs/1909.11556; code: facebookresearch/fairseq, commit 3d262bb, fairseq/modules/layer_drop.py

    Differences:
        The recommended 0.2 is for a model that was pre-trained with it. A model that never met a missing layer should
        start at 0.05 to 0.1; the default of 0.1 is a choice of this project. As released, all layers may be left out.
        Stochastic depth (Huang et al. 2016, https://arxiv.org/abs/1603.09382) was made for networks whose residual path
        is not normalised; here a branch is dropped before the LayerNorm behind it. It is not available for XLNet, whose
        attention has no linear modules.

    Cost:
        One pass per update, on average without the share p of its layers.

    When it helps:
        The paper reports models that can be pruned, and a regularising effect in pre-training.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"p": 0.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"p": 0.4}
    p: float = number(0.1, least=0, below=1)
    unit: str = choice("layer", "layer", "branch", added_later=True)

    needs_every_token = True
    acts_on = frozenset({Part.LAYER_INPUTS, Part.LAYER_OUTPUTS})

    def check(self, model: PreTrainedModel) -> None:
        for layer in encoder_layers(model):
            if self.unit == "branch":
                _branches(layer, model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        if self.p == 0:
            return Hooks()
        source = context.noise("layer_drop", model)
        if self.unit == "branch":
            self._drop_branches(model, source, context)
            return Hooks()
        for index, layer in enumerate(encoder_layers(model)):
            plain = layer.forward
            layer.__dict__["forward"] = _Skipping(layer, plain, source, f"layer {index}", self.p, context)
            context.cleanup.callback(_restore, layer)
        return Hooks()

    def _drop_branches(self, model: PreTrainedModel, source: NoiseSource, context: Context) -> None:
        segments, layers = current_segments(model, context), encoder_layers(model)

        def drop(branch: Tensor, site: str, p: float) -> Tensor:
            current = segments(branch)
            draw = source.uniform(branch.new_empty(current.examples), site)
            return kept_branch(branch, draw >= p, current.ids, p)

        for index, layer in enumerate(layers[1:], start=1):
            p = self.p * index / (len(layers) - 1)
            for part, module in _branches(layer, model).items():
                context.until_finish(change_output(module, partial(drop, site=f"layer {index} {part}", p=p)))


def _branches(layer: nn.Module, model: PreTrainedModel) -> dict[str, nn.Module]:
    """The linear maps whose outputs are added to the residual path, by the part of the layer."""
    if (attention := attention_output(layer)) is None:
        raise UserError(
            f"layer_drop.unit=branch is not available for {model.config.model_type}; use layer_drop.unit=layer"
        )
    return {"attention": attention, "feed-forward": feed_forward_maps(layer)[1]}


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
