"""SSF: scaling and shifting features (Lian et al., NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import (
    Context,
    Exclusive,
    Hooks,
    Method,
    NoiseSource,
    Part,
    UserError,
    Weights,
    number,
    register,
)
from hype_bench.contract.freeze import train_only
from hype_bench.contract.no_decay import spare_from_decay
from hype_bench.models.layers import encoder_layers, head_parameters, is_layer_norm

_SCALE, _SHIFT = "ssf_scale", "ssf_shift"


def scaled_and_shifted(
    y: Float[Tensor, "*positions features"],
    scale: Float[Tensor, " features"],
    shift: Float[Tensor, " features"] | None,
) -> Float[Tensor, "*positions features"]:
    """``scale * y + shift``, a number for each feature.

    Reference: Lian et al. 2022, "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning",
    arXiv:2210.08823
    """
    return y * scale if shift is None else y * scale + shift


@torch.no_grad()
def merge(weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor | None) -> None:
    """Writes scale and shift into the weights of a linear map or a LayerNorm, in place."""
    weight.mul_(scale[:, None] if weight.dim() == 2 else scale)
    if bias is not None and shift is not None:
        bias.mul_(scale).add_(shift)


@register("ssf")
@dataclass(frozen=True)
class SSF(Method):
    r"""SSF: trains a factor and a summand for every feature behind each linear map and LayerNorm, and nothing else.

    The encoder is frozen. At the end both are merged into the weights, which leaves a plain model.

    Args:
        init_std: standard deviation around 1 and 0 with which factors and summands start; 0.02 in the released code; 0
            starts from the pre-trained function.

    Equation:
        y \leftarrow \gamma \odot y + \beta

    Reference:
        Lian, Zhou, Feng and Wang 2022, *Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning*,
        NeurIPS 2022, https://arxiv.org/abs/2210.08823; code: dongzelian/SSF, commit e94e0e7

    Differences:
        Made for vision transformers, whose LayerNorm stands before a block; in BERT its scaled output also goes into
        the residual path. Whether the LayerNorm of the embeddings counts for encoders is not settled; here it does. As
        released, factors start at 1 plus noise, which perturbs the pre-trained function by 2 % at eight places of a
        layer. Maps without a bias (DeBERTa's query, key and value, ModernBERT) get factors alone, since nothing could
        hold a merged summand. Factors and summands have no weight decay, as released; its moving average of the weights
        is another technique (`ema`). Not available for XLNet, whose attention has no linear modules. Learning rates are
        around 1e-3: set `training.learning_rate`.

    Cost:
        One pass per update; about 0.2 % of the parameters have gradients and optimizer state.

    When it helps:
        Reported for image classification; BitFit is its half that shifts.
    """

    wraps_weights = True
    init_std: float = number(0.02, least=0)

    exclusive = frozenset({Exclusive.TRAINED_WEIGHTS, Exclusive.LINEAR_MAPS, Exclusive.TRAINED_ENTRIES})
    acts_on = frozenset(
        {Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.LINEAR_MAPS, Part.LAYER_OUTPUTS, Part.PARAMETER_GROUPS}
    )

    def check(self, model: PreTrainedModel) -> None:
        encoder_layers(model)
        if model.config.model_type == "xlnet":
            raise UserError("ssf is not available for xlnet: its attention has no linear modules")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        head, source = head_parameters(model), context.noise("ssf")
        for name, module in _places(model).items():
            self._attach(name, module, source, context)
        train_only(model, context, lambda name, p: name.endswith((_SCALE, _SHIFT)) or p in head)
        return Hooks(
            parameter_groups=lambda groups: spare_from_decay(groups, model, _SCALE, _SHIFT), plain_weights=_merged
        )

    def _attach(self, name: str, module: Any, source: NoiseSource, context: Context) -> None:
        bias = getattr(module, "bias", None)
        like = module.weight.detach()[..., 0] if module.weight.dim() == 2 else module.weight.detach()
        scale = nn.Parameter(1 + self.init_std * source.normal(like, f"{name} scale"))
        shift = None if bias is None else nn.Parameter(self.init_std * source.normal(like, f"{name} shift"))
        module.register_parameter(_SCALE, scale)
        module.register_parameter(_SHIFT, shift)

        def change(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            return scaled_and_shifted(output, scale, shift)

        def undo() -> None:
            del module._parameters[_SCALE], module._parameters[_SHIFT]
            merge(module.weight, bias, scale, shift)

        context.until_finish(module.register_forward_hook(change))
        context.cleanup.callback(undo)


def _merged(weights: Weights) -> Weights:
    """Without scales and shifts, which are in the weights."""
    plain = {name: value for name, value in weights.items() if not name.endswith((_SCALE, _SHIFT))}
    for place in (name.removesuffix(_SCALE) for name in weights if name.endswith(_SCALE)):
        own = {name: plain[name].clone() for name in (f"{place}weight", f"{place}bias") if name in plain}
        merge(own[f"{place}weight"], own.get(f"{place}bias"), weights[place + _SCALE], weights.get(place + _SHIFT))
        plain |= own
    return plain


def _places(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Linear maps and LayerNorms of the layers, and the LayerNorm of the embeddings, by name."""
    stack = {module for layer in encoder_layers(model) for module in layer.modules()}
    embeddings = getattr(model.base_model, "embeddings", None)
    below = set(embeddings.modules()) if isinstance(embeddings, nn.Module) else set()
    return {
        name: module
        for name, module in model.named_modules()
        if (module in stack and isinstance(module, nn.Linear) and not name.rpartition(".")[2].startswith("pos_"))
        or (module in stack | below and is_layer_norm(module))
    }
