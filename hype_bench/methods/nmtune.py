"""NMTune: tuning on top of encoders with noisy pre-training (Chen et al., ICLR 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from hype_bench.contract import (
    Batch,
    Context,
    Exclusive,
    Forward,
    Hooks,
    Loss,
    Method,
    Part,
    UserError,
    full,
    number,
    register,
)
from hype_bench.contract.activations import recorded_inputs, recorded_outputs
from hype_bench.contract.freeze import train_only
from hype_bench.models.hidden_dropout import all_dropouts, set_dropout
from hype_bench.models.layers import head_maps, head_parameters

_LARGEST = 5  # singular values whose share counts, as released

Features = Float[Tensor, "rows width"]


def consistency(mapped: Features, features: Features) -> Float[Tensor, ""]:
    """Mean squared difference of the directions of two sets of rows, of which the second has no gradient."""
    return F.mse_loss(F.normalize(mapped, dim=-1), F.normalize(features.detach(), dim=-1))


def covariance(mapped: Features) -> Float[Tensor, ""]:
    """The sum of squared covariances of different features, divided by the width; 0 for one row."""
    centred = mapped - mapped.mean(0)
    products = centred.T @ centred / max(len(mapped) - 1, 1)
    others: Tensor = products.square().sum() - products.diagonal().square().sum()
    return others / mapped.shape[1]


def dominance(mapped: Features) -> Float[Tensor, ""]:
    """The mean of the five largest singular values, each a share of the sum of all."""
    values = torch.linalg.svdvals(mapped)
    shares: Tensor = values / values.sum()
    return shares[:_LARGEST].mean()


class Mapping(nn.Module):
    """``f + scale * MLP(f)``; ``scale`` has a number for every feature."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.up, self.norm, self.down = (
            nn.Linear(width, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.Linear(4 * width, width),
        )
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, features: Features) -> Features:
        hidden = self.up(features)
        if self.training and len(features) == 1:  # which has no statistics of its own
            norm = self.norm
            hidden = F.batch_norm(hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            hidden = self.norm(hidden)
        changed: Tensor = features + self.scale * self.down(hidden.relu())
        return changed


@register("nmtune")
@dataclass(frozen=True)
class NMTune(Method):
    r"""NMTune: trains a network on the frozen encoder's features, whose directions it keeps and whose parts it unties.

    An encoder that was pre-trained on noisy data stays as it is. A small network changes its features instead; terms of
    the loss keep their directions, decorrelate them, and let a few singular values dominate.

    Args:
        views: of each example: 1, the encoder without dropout; 2, two passes with dropout, and a mean over both.
        init_scale: with which the network's output is added at the start: 1 in the README, 0.5 in the code's class.
        consistency: weight of the distance between the directions of new and old features.
        covariance: weight of the covariances of different features.
        dominance: weight of the share that the five largest singular values have, which is to grow.

    Equation:
        \ell(W m) + \lambda_1 \left\| \bar{m} - \bar{f} \right\|^2 + \lambda_2 \, \frac{1}{d} \sum_{i \ne j}
        C_{ij}(m)^2 - \lambda_3 \, \frac{1}{5} \sum_{k \le 5} \frac{\sigma_k}{\sum_j \sigma_j}, \quad m = f + s \odot
        \mathrm{MLP}(f)

    Reference:
        Chen, Wang, Shah, Tao, Wei, Xie, Sugiyama and Raj 2024, *Understanding and Mitigating the Label Noise in
        Pre-training on Downstream Tasks*, ICLR 2024, https://arxiv.org/abs/2309.17002; code:
        Hhhhhhao/Noisy-Model-Learning, commit f249dce (images only)

    Differences:
        The code for texts is not public. Images have two views by augmentation; a text has none, so that by default one
        view is compared with itself. With two views, batch normalisation sees each by itself. Old features are what the
        head reads: behind the pooler in BERT, the first token's state where the head's own layers are not pre-trained
        (RoBERTa, ELECTRA, DeBERTa, XLNet), which are trained. The paper speaks of the largest singular value, the code
        takes five. Covariances and singular values are those of a micro-batch. Learning rates are around 1e-3: set
        `training.learning_rate`. The released code trains for 30 epochs.

    Cost:
        One pass per update without a backward pass through the encoder, and the singular values of the batch's
        features, for which a GPU waits; two with two views.

    When it helps:
        The paper reports gains where pre-training data were noisy, above all on other domains.
    """

    unmerged = "network between encoder and head"
    reads_features = True
    wraps_weights = True
    views: int = number(1, least=1, most=2)
    init_scale: float = number(1.0, least=0)
    consistency: float = number(1.0, least=0)
    covariance: float = number(0.04, least=0)
    dominance: float = number(0.001, least=0)

    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.TRAINED_WEIGHTS, Part.DROPOUT, Part.HEAD_INPUTS, Part.LOSS})

    @property
    def exclusive(self) -> frozenset[Any]:
        frozen = {Exclusive.TRAINED_WEIGHTS, Exclusive.TRAINED_ENTRIES}
        return frozenset(frozen | {Exclusive.HIDDEN_DROPOUT, Exclusive.HIDDEN_NOISE} if self.views == 1 else frozen)

    def check(self, model: PreTrainedModel) -> None:
        head_maps(model)

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        first, head = head_maps(model)[0], head_parameters(model)
        with context.own_randomness("nmtune", model):
            mapping = Mapping(first.in_features, self.init_scale).to(first.weight)
        model.base_model.add_module("nmtune", mapping)  # beside the encoder: the head's last map stays its last
        train_only(model, context, lambda name, p: p in head or ".nmtune." in f".{name}")

        def change(module: nn.Module, args: Any) -> tuple[Tensor, ...]:
            if args[0].dim() != 2:
                raise UserError(f"nmtune cannot work for {model.config.model_type}: its head reads all tokens")
            return (mapping(args[0]), *args[1:])

        first.register_forward_pre_hook(change)
        if self.views == 1:
            context.cleanup.callback(set_dropout(all_dropouts(model).values(), 0.0))
        return Hooks(loss=_Terms(self, mapping).loss)


@dataclass
class _Terms:
    method: NMTune
    mapping: Mapping

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        task, output, old, mapped = self._one_view(batch, forward, inner)
        new = mapped
        if self.method.views == 2:
            other, _, _, new = self._one_view(batch, forward, inner)
            task, mapped = (task + other) / 2, torch.cat([mapped, new])
        with torch.autocast(old.device.type, enabled=False):
            close, related, dominant = consistency(new, old), covariance(mapped), dominance(mapped)
        weights = self.method
        loss = task + weights.consistency * close + weights.covariance * related - weights.dominance * dominant
        return loss, output

    def _one_view(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any, Tensor, Tensor]:
        """The task's loss, the output, and the features of its first pass before and after the network."""
        with recorded_inputs([self.mapping]) as old, recorded_outputs([self.mapping]) as new:
            task, output = inner(batch, forward)
        return task, output, full(old[0]), full(new[0])
