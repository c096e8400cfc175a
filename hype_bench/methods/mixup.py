"""Mixup of features or hidden states (Zhang et al., ICLR 2018; Chen et al., ACL 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import Batch, Context, Forward, Hooks, Loss, Method, Part, UserError, choice, number, register
from hype_bench.contract.activations import change_input, change_output, listeners
from hype_bench.models.layers import encoder_layers, output_projection
from hype_bench.models.unpacking import as_padded


def mixed(
    x: Float[Tensor, "*shape"], partners: Int[Tensor, " batch"], share: float, dim: int = 0
) -> Float[Tensor, "*shape"]:
    """``share * x + (1 - share) * x[partners]``, examples along ``dim``.

    Reference: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412
    """
    return share * x + (1 - share) * x.index_select(dim, partners)


@register("mixup")
@dataclass(frozen=True)
class Mixup(Method):
    r"""Mixup: trains on mixtures of two examples of a batch, and of their labels.

    What is mixed are the features that the output projection reads, the word and position embeddings, or the hidden
    states between two layers (TMix). Each example has a partner in the batch; all share one coefficient and one place.

    Args:
        place: `layer`, before one of `layers`, drawn for every batch; `embeddings`, before the lowest; `features`, what
            the output projection reads.
        layers: how many layers lie below a mixture, a list; null for 7, 9 and 12 of 12, as released, or the same
            shares of another depth.
        alpha: of the law Beta(alpha, alpha) of the coefficient; 16 in the README of TMix, 0.75 by default in its code.
        keeps_larger: whether the example itself has the larger share, as released unless `separate_mix` is given.
        share: of the batches that are mixed.

    Equation:
        h = \lambda h(x_i) + (1 - \lambda) h(x_j), \quad \ell = \lambda \, \ell(y_i) + (1 - \lambda) \, \ell(y_j), \quad
        \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    Reference:
        Zhang, Cisse, Dauphin and Lopez-Paz 2018, *mixup: Beyond Empirical Risk Minimization*, ICLR 2018,
        https://arxiv.org/abs/1710.09412; hidden states: Chen, Yang and Yang 2020, *MixText*, ACL 2020,
        https://aclanthology.org/2020.acl-main.194, code: SALT-NLP/MixText, commit f17198d (its labelled part)

    Differences:
        The released TMix makes two streams below the mixture, with dropout masks of their own, and attends to padding.
        Here one pass makes both, so that an example has the same masks as itself and as a partner, and the layers above
        attend to the tokens of either. For a regression the mixture of the two squared errors is larger than the
        error of the mixed target by what no weight changes: the gradient is the same. Packed rows are padded for it
        unless features are mixed. With R-Drop named after it, both of its passes have one mixture, and the second half
        of the loss is computed from passes of its own.

    Cost:
        One pass per update.

    When it helps:
        MixText reports gains with few labels; for full training sets reports differ.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    tiny_options: ClassVar[Mapping[str, Any]] = {"alpha": 0.4, "layers": [1]}
    reads_features = True
    per_example = True
    place: str = choice("layer", "layer", "embeddings", "features")
    layers: list[int] | None = number(None, least=0)
    alpha: float = number(16.0, above=0)
    keeps_larger: bool = False
    share: float = number(1.0, least=0, most=1)

    acts_on = frozenset({Part.LAYER_INPUTS, Part.LAYER_OUTPUTS, Part.HEAD_INPUTS, Part.LOSS})

    @property
    def needs_every_token(self) -> bool:
        return self.place == "layer"

    def check(self, model: PreTrainedModel) -> None:
        output_projection(model)
        if self.place != "features":
            depth = len(encoder_layers(model))
            if self.layers is not None and (not self.layers or max(self.layers) > depth):
                raise UserError(f"mixup.layers must be numbers from 0 to {depth}, the layers of this encoder")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks(loss=_Mixing(self, model, context).loss) if self.share else Hooks()


class _Mixing:
    """The mixture of the present batch, whatever passes are made over it."""

    def __init__(self, method: Mixup, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model, self.context = method, model, context
        self.source = context.noise("mixup")
        self.dim = 1 if method.place != "features" and model.config.model_type == "xlnet" else 0
        self.present: Tensor | None = None  # the labels of the present batch
        self.draw: tuple[float, int, Tensor] | None = None
        self.place = context.flag(-1)  # at which a pass is mixed; -1: nowhere
        for place, (change, module) in self._places().items():
            context.until_finish(change(module, lambda x, place=place: self._mixed(x, place)))

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.model.training:
            return inner(batch, forward)
        draw = self._drawn(batch["labels"])
        if draw is None:
            return inner(batch, forward)
        share, place, partners = draw
        passes = _Passes(forward, self.model)
        given = batch if self.method.place == "features" else self._attending_to_both(batch, partners)
        partner = {**given, "labels": given["labels"][partners]}
        with self.place.set(place):
            replayed = self.context.rng_snapshot(self.model)
            own, output = inner(given, passes.record)
            if passes.can_replay:
                other, _ = inner(partner, passes.replay)
            else:  # other techniques have made passes of their own, or read what goes on inside of this one
                with replayed():
                    other, _ = inner(partner, forward)
        return share * own + (1 - share) * other, output

    def _attending_to_both(self, batch: Batch, partners: Tensor) -> Batch:
        padded = as_padded(batch, self.model)
        mask = padded.get("attention_mask")
        return padded if mask is None else padded | {"attention_mask": mask | mask[partners]}

    def _drawn(self, labels: Tensor) -> tuple[float, int, Tensor] | None:
        """Coefficient, place and partners, one draw a batch; None for a batch that is not mixed."""
        if self.present is not labels:
            self.source.next_forward()
            self.present, method = labels, self.method
            rng = np.random.default_rng(self.source.seed("mixture") % 2**64)
            is_mixed, share = rng.random() < method.share, float(rng.beta(method.alpha, method.alpha))
            share = max(share, 1 - share) if method.keeps_larger else share
            partners = torch.from_numpy(rng.permutation(len(labels)))
            if labels.device.type == "cuda":
                partners = partners.pin_memory()  # so that the host does not wait for the copy
            partners = partners.to(labels.device, non_blocking=True)
            self.draw = (share, int(rng.choice(list(self._places()))), partners) if is_mixed else None
        return self.draw

    def _mixed(self, x: Tensor, place: int) -> Tensor | None:
        if self.place.value != place or self.draw is None:
            return None
        share, _, partners = self.draw
        return mixed(x, partners, share, self.dim)

    def _places(self) -> dict[int, tuple[Callable[..., Any], nn.Module]]:
        """How many layers lie below, and where that is: what enters a layer or leaves the top one."""
        if self.method.place == "features":
            return {0: (change_input, output_projection(self.model))}
        stack = encoder_layers(self.model)
        depth = len(stack)
        released = sorted({round(depth * place / 12) for place in (7, 9, 12)})
        chosen = [0] if self.method.place == "embeddings" else self.method.layers or released
        return {
            place: (change_input, stack[place]) if place < depth else (change_output, stack[-1]) for place in chosen
        }


class _Passes:
    """The one pass of a loss, to be used for both labels."""

    def __init__(self, forward: Forward, model: PreTrainedModel) -> None:
        self.forward, self.model = forward, model
        self.outputs: list[Any] = []
        self.usual, self.is_read = listeners(model), False

    def record(self, batch: Batch) -> Any:
        self.is_read |= listeners(self.model) > self.usual
        self.outputs.append(self.forward(batch))
        return self.outputs[-1]

    def replay(self, batch: Batch) -> Any:
        return self.outputs[0]

    @property
    def can_replay(self) -> bool:
        return len(self.outputs) == 1 and not self.is_read
