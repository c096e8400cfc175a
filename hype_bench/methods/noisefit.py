"""NoiseFiT (Khadangi et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.contract import Context, Hooks, Method, NoiseSource, Part, register
from hype_bench.contract.activations import change_output, current_segments, recorded_outputs
from hype_bench.contract.objective import Batch, Forward, Loss, full, is_regression
from hype_bench.contract.passes import EqualPasses, dropout_masks
from hype_bench.models.layers import encoder_layers
from hype_bench.options import UserError, choice, number

_STABILISER = 1e-6
_MOST = 5.0  # the largest factor that a token's variance gives
_DRAWS = 10  # of noise, when layers are compared


def adaptive_noise(
    hidden: Float[Tensor, "*positions width"],
    draw: Float[Tensor, "*positions width"],
    base_std: Float[Tensor, ""],
    real: Bool[Tensor, "*positions"] | None,
) -> Float[Tensor, "*positions width"]:
    """``h + z s``: more where an entry is near its token's median, more for tokens of large variance.

    ``s = base_std * MAD * exp(-0.1 |h - median| / MAD) * min(5, exp(variance / mean variance))``, median and MAD (the
    median of the distances from it, at least 1e-6 ||h||) over the hidden dimension.

    Args:
        draw: N(0, 1).
        real: where there is no padding, None if there is none at all. The mean variance is over these tokens.

    Reference: Khadangi et al. 2025, "Noise Augmented Fine Tuning", arXiv:2504.03302, as in its released code.
    """
    median = _median(hidden)
    distance = (hidden - median).abs()
    least = _STABILISER * hidden.norm(dim=-1, keepdim=True)
    spread = torch.maximum(_median(distance), least)
    variance = hidden.var(-1, keepdim=True)
    factor = (variance / (_at(real, variance).mean() + _STABILISER)).exp().clamp(max=_MOST)
    return hidden + draw * base_std * spread * (-0.1 * distance / (spread + _STABILISER)).exp() * factor


def _median(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*kept"]:
    """Over the last dimension, which stays; CUDA's own function is not deterministic."""
    if x.device.type == "cuda":
        return x.sort(-1).values[..., (x.shape[-1] - 1) // 2, None]
    return x.median(-1, keepdim=True).values


def _at(real: Bool[Tensor, "*positions"] | None, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*kept"]:
    """``x`` at real tokens, all of it if there is no padding."""
    return x if real is None else x[real]


def signal_to_noise(hidden: Float[Tensor, "*shape"], noised: list[Float[Tensor, "*shape"]]) -> float:
    """The mean absolute entry over the mean absolute change that noise makes to it, over several draws."""
    change = torch.stack([(other - hidden).abs().mean() for other in noised]).mean()
    return float(hidden.abs().mean() / (change + _STABILISER))


def consistency(
    clean: Float[Tensor, "batch classes"],
    first: Float[Tensor, "batch classes"],
    second: Float[Tensor, "batch classes"],
    weight: float,
    between: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """``(1 - weight) * mean of KL(clean || noised) + between * KL(second || first)``, means over the batch.

    Args:
        clean, first, second: logits; the clean ones are a fixed target.
    """
    p = F.log_softmax(full(clean.detach()) / temperature, -1)
    q1, q2 = F.log_softmax(full(first), -1), F.log_softmax(full(second), -1)
    towards = F.kl_div(q1, p, reduction="batchmean", log_target=True)
    towards = towards + F.kl_div(q2, p, reduction="batchmean", log_target=True)
    apart = F.kl_div(q1, q2, reduction="batchmean", log_target=True)
    return (1 - weight) * towards / 2 + between * apart


@register("noisefit")
@dataclass(frozen=True)
class NoiseFiT(Method):
    r"""NoiseFiT: two noised passes are trained to match a clean one; the noise follows the spread of each layer.

    The noise is added to the output of a few layers, which are chosen on the first batch, in evaluation mode, by their
    signal-to-noise ratio. Adapted from language modelling.

    Args:
        noise_std: standard deviation of the base noise, relative to the spread of the hidden states; 0.1 in the
            released code.
        layers: number of perturbed layers; 3 in the released code.
        selection: layers with the `largest` or the `lowest` signal-to-noise ratio.
        weight: alpha, the weight of the cross-entropy of the clean pass; the rest weights the divergence of the noised
            passes from it.
        between: weight of the divergence between the two noised passes; 0.1 in the first release, 0.05 in the second.
        temperature: of the clean target.
        base: `paper`, base noise of `noise_std` times the spread; `official`, multiplied by `noise_std` once more, as
            in the released training hook.
        dropout_masks: `own`, each pass draws its own, as in the released code; `shared`, all passes have the same.

    Equation:
        \alpha \, \ell(p) + \frac{1 - \alpha}{2} \sum_{i=1}^{2} \mathrm{KL}(p \,\|\, q_i) + \lambda_c \, \mathrm{KL}(q_2
        \,\|\, q_1)

    Reference:
        Khadangi, Sartipi, Tchappi and Bahmani 2025, *Noise Augmented Fine Tuning for Mitigating Hallucinations in Large
        Language Models*, https://arxiv.org/abs/2504.03302; code: akhadangi/NoiseFiT, commit 48c61c8

    Differences:
        The original is for language models with LoRA; here the divergences are between class probabilities, and for a
        regression they are squared differences. The released hook multiplies the base noise by `noise_std` a second
        time (`base=official`). The clean target is detached, as in the second release. As in the released code, each
        pass draws its own dropout masks, but there LoRA's dropout of 0.05 is the only one. With `noise_std=0` the
        divergences are therefore those of dropout, or 0 with shared masks (`dropout_masks=shared`).

    Cost:
        Three passes per update, and a few once to choose the layers; the top layer is computed for every token, where a
        packed row of vanilla computes it for the first token of each sequence only.

    When it helps:
        Reported to reduce hallucination in language models; nothing is published for classification.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"weight": 1.0, "between": 0.0}
    noise_std: float = number(0.1, least=0)
    layers: int = number(3, least=1)
    selection: str = choice("largest", "largest", "lowest")
    weight: float = number(0.5, least=0, most=1)
    between: float = number(0.1, least=0)
    temperature: float = number(1.0, above=0)
    base: str = choice("paper", "paper", "official")
    dropout_masks: str = choice("own", "own", "shared")

    acts_on = frozenset({Part.LAYER_OUTPUTS, Part.LOSS})

    @property
    def needs_every_token(self) -> bool:
        return self.weight != 1 or self.between != 0

    def check(self, model: PreTrainedModel) -> None:
        depth = len(encoder_layers(model))
        if self.layers > depth:
            raise UserError(f"noisefit.layers must be at most {depth}, the layers of this encoder, not {self.layers}")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks.of(_ThreePasses(self, model, context)) if self.needs_every_token else Hooks()

    def _added(self, clean: Tensor, first: Tensor, second: Tensor, of_numbers: bool) -> Tensor:
        if of_numbers:
            towards = F.mse_loss(first, clean.detach()) + F.mse_loss(second, clean.detach())
            return (1 - self.weight) * towards / 2 + self.between * F.mse_loss(first, second)
        return consistency(clean, first, second, self.weight, self.between, self.temperature)

    def _base_std(self, hidden: Tensor, real: Tensor | None, hooked: bool) -> Tensor:
        """The released code multiplies by ``noise_std`` again in the hook, but not where it chooses the layers."""
        twice = self.noise_std if hooked and self.base == "official" else 1.0
        spread: Tensor = _at(real, hidden.detach()).std()
        return spread * (twice * self.noise_std)


class _ThreePasses:
    """A clean pass, and two with noise on the outputs of the layers chosen on the first batch."""

    def __init__(self, method: NoiseFiT, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.segments, self.source = current_segments(model, context), context.noise("noisefit", model)
        self.compared, self.noised_pass = EqualPasses("noisefit", context), context.flag(0)  # 0 is the clean one
        self.layers = encoder_layers(model)
        self.chosen: list[int] = []
        for index, layer in enumerate(self.layers):
            context.until_finish(change_output(layer, partial(self._noised, index)))

    def _noised(self, index: int, hidden: Tensor) -> Tensor | None:
        if not self.noised_pass.value or index not in self.chosen:
            return None
        real = self.segments(hidden).real
        draw = self.source.normal(hidden, f"layer/{index}/{self.noised_pass.value}")
        return adaptive_noise(hidden, draw, self.method._base_std(hidden, real, hooked=True), real)

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.chosen:
            self.chosen = self._choose(batch, forward)
        masks = dropout_masks(self.method.dropout_masks, self.model, self.context)
        task, clean = inner(batch, forward)
        noised = list[Tensor]()
        for number_of_pass in (1, 2):
            with masks(), self.noised_pass.set(number_of_pass):
                noised.append(forward(batch).logits)
        first, second = noised
        added = self.method._added(clean.logits, first, second, is_regression(batch["labels"]))
        return self.method.weight * task + self.compared.watch(added), clean

    def _choose(self, batch: Batch, forward: Forward) -> list[int]:
        """The layers with the largest or lowest signal-to-noise ratio on this batch, in evaluation mode."""
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad(), recorded_outputs(self.layers) as states:
            forward(batch)
        self.model.train(was_training)
        draws = NoiseSource(self.context.seed, "noisefit/choice")
        real = self.segments(states[0]).real
        ratios: dict[int, float] = {}
        for index, hidden in states.items():
            std = self.method._base_std(hidden, real, hooked=False)
            drawn = (draws.normal(hidden, f"{index}/{k}") for k in range(_DRAWS))
            noised = [_at(real, adaptive_noise(hidden, draw, std, real)) for draw in drawn]
            ratios[index] = signal_to_noise(_at(real, hidden), noised)
        by_ratio = sorted(ratios, key=ratios.__getitem__, reverse=self.method.selection == "largest")
        self.context.facts["noised_layers"] = sorted(by_ratio[: self.method.layers])
        return by_ratio[: self.method.layers]
