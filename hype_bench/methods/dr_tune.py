"""DR-Tune: distribution regularisation with semantic calibration (Zhou et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.optim import Optimizer
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
    forward_of,
    full,
    is_regression,
    number,
    register,
    task_loss,
)
from hype_bench.contract.activations import recorded_inputs
from hype_bench.contract.starting_point import StartingPoint
from hype_bench.models.layers import head_maps
from hype_bench.options import UserError

Features = Float[Tensor, "rows width"]


def rotated(pretrained: Features, downstream: Features) -> Features:
    """Pre-trained features around their mean, turned by the proper rotation that fits them best to the downstream ones
    around theirs (Kabsch)."""
    x, y = pretrained - pretrained.mean(0), downstream - downstream.mean(0)
    u, _, vh = torch.linalg.svd(x.T @ y)
    v = vh.T.clone()
    v[:, -1] *= torch.det(v @ u.T)
    turned: Tensor = x @ u @ v.T
    return turned


def class_shifts(
    pretrained: Features, downstream: Features, labels: Num[Tensor, " rows"], weight: Float[Tensor, "classes width"]
) -> Float[Tensor, "classes width"]:
    """How far the mean of each class is from its downstream features, of which those count most that lie along the
    head's row of the class. NaN for a class without an example, of which there is no row to be moved."""
    is_class = labels[:, None] == torch.arange(len(weight), device=labels.device)
    affinities = (downstream @ F.normalize(weight, dim=-1).T).masked_fill(~is_class, float("-inf"))
    means = is_class.to(pretrained.dtype).T @ pretrained / is_class.sum(0).clamp_min(1)[:, None]
    return affinities.softmax(0).T @ downstream - means


@torch.no_grad()
def calibrated(
    pretrained: Features,
    downstream: Features,
    labels: Num[Tensor, " rows"],
    weight: Float[Tensor, "classes width"],
    norm: Float[Tensor, ""],
    rotates: bool,
) -> Features:
    """Pre-trained features of the bank, moved to where the downstream ones are at present.

    Args:
        labels: of a regression there are no classes, and the class translation is left out.
        weight: of the output projection.
        norm: of the result.

    Reference: Zhou et al. 2023, "DR-Tune: Improving Fine-tuning of Pretrained Visual Models by Distribution
    Regularization with Semantic Calibration", arXiv:2308.12058
    """
    pretrained, downstream = F.normalize(pretrained, dim=-1), F.normalize(downstream, dim=-1)
    if rotates:
        pretrained = rotated(pretrained, downstream)
    if not is_regression(labels):
        pretrained = pretrained + class_shifts(pretrained, downstream, labels, weight)[labels]
    return F.normalize(pretrained, dim=-1) * norm


@register("dr_tune")
@dataclass(frozen=True)
class DRTune(Method):
    r"""DR-Tune: the head also learns from features of the frozen pre-trained encoder, moved to fit the present ones.

    A bank holds, of the last examples, the feature in the model as it is and the feature in the pre-trained one. Before
    each update the pre-trained features are turned and shifted onto the others, class by class, and the head has to
    classify them too. The encoder learns from the batch alone.

    Args:
        bank: how many examples the bank holds, as far as the training data have them.
        bank_weight: of the bank's mean loss beside the batch's; null for one mean over the rows of both, as released,
            in which a batch of 16 beside 2048 rows counts for less than 1 %.
        rotate_every: updates from one rotation to the next; 10 in the released code, to save time.

    Equation:
        \frac{1}{B + K} \left( \sum_{i \le B} \ell(W f_i, y_i) + \sum_{k \le K} \ell(W \hat{z}_k, y_k) \right)

    Reference:
        Zhou, Chen and Huang 2023, *DR-Tune: Improving Fine-tuning of Pretrained Visual Models by Distribution
        Regularization with Semantic Calibration*, ICCV 2023, https://arxiv.org/abs/2308.12058; code: weeknan/DR-Tune,
        commit ef9a7b1

    Differences:
        Made for images: 100 epochs of SGD with learning rates of 0.01 for the encoder and 0.33 for the head. A feature
        is what the output projection reads, dropout included, and in the pre-trained model what the head reads, for
        layers of the head below the output projection are not pre-trained (RoBERTa, ELECTRA, DeBERTa, XLNet). The bank
        is filled by one pass over the training data, and is smaller where they are; the released code fills it with 3
        batches more than it holds. There a bank that is no multiple of the batch is an error, and a class with one row
        is moved by a wrong distance. Rotations are counted over the run, not over each epoch. The weight of the bank in
        the paper was not read. Its loss is cross-entropy, or of a regression the squared error, whatever other
        techniques make of the batch's; a regression has no classes, so that its features are turned and not shifted.
        Several passes over one batch put it in the bank once.

    Cost:
        One pass per update and one more without gradients; a copy of the weights, two features for each row of the
        bank; every `rotate_every` updates a decomposition of a matrix of the encoder's width, 0.7 s for 768 on one
        core.

    When it helps:
        The paper reports gains in image classification with few labels.
    """

    neutral: ClassVar[Mapping[str, Any]] = {"bank_weight": 0.0}
    reads_features = True
    per_example = True
    bank: int = number(2048, least=1)
    bank_weight: float | None = number(None, least=0)
    rotate_every: int = number(10, least=1)

    exclusive = frozenset({Exclusive.HEAD_LOSS})
    acts_on = frozenset({Part.INITIAL_WEIGHTS, Part.LINEAR_MAPS, Part.HEAD_INPUTS, Part.LOSS})

    def check(self, model: PreTrainedModel) -> None:
        maps = head_maps(model)
        if maps[0].in_features != maps[-1].in_features:
            raise UserError(f"dr_tune cannot work for {model.config.model_type}: its head changes the features' width")

    def prepare(self, model: PreTrainedModel, context: Context) -> Hooks:
        return Hooks() if self.bank_weight == 0 else Hooks.of(_Banks(self, model, context))


class _Banks:
    """Features and labels of the last examples; the oldest row is the next to be replaced."""

    def __init__(self, method: DRTune, model: PreTrainedModel, context: Context) -> None:
        self.method, self.model = method, model
        maps = head_maps(model)
        self.ends: list[nn.Module] = [maps[0], maps[-1]]  # what is pre-trained ends before the first
        self.head = maps[-1]
        self.start = StartingPoint(model, context)
        self.updates, self.oldest = 0, 0
        self.written: list[Tensor] = []  # the labels of what this update has put in the bank
        self.pretrained, self.downstream, self.labels = self._filled(context)

    def loss(self, batch: Batch, forward: Forward, inner: Loss) -> tuple[Tensor, Any]:
        if not self.model.training:
            return inner(batch, forward)
        self.start.keep()
        with self.start.restored(), recorded_inputs(self.ends[:1]) as pretrained:
            forward(batch)
        with recorded_inputs(self.ends[1:]) as downstream:
            task, output = inner(batch, forward)
        features = self._checked(downstream[0])
        bank = self._bank_loss(features.norm(dim=-1).mean())
        if not any(labels is batch["labels"] for labels in self.written):
            self.written.append(batch["labels"])
            self._write(full(pretrained[0]), features, batch["labels"])
        if self.method.bank_weight is not None:
            return task + self.method.bank_weight * bank, output
        rows, examples = len(self.labels), len(features)
        return (examples * task + rows * bank) / (examples + rows), output

    def after_step(self, optimizer: Optimizer) -> None:
        self.updates += 1
        self.written.clear()

    def _bank_loss(self, norm: Tensor) -> Tensor:
        rotates, weight = self.updates % self.method.rotate_every == 0, self.head.weight.detach()
        with torch.autocast(norm.device.type, enabled=False):
            features = calibrated(self.pretrained, self.downstream, self.labels, weight, norm, rotates)
        return task_loss(F.linear(features, self.head.weight, self.head.bias), self.labels)

    def _write(self, pretrained: Features, downstream: Features, labels: Tensor) -> None:
        size = len(self.labels)
        places = (self.oldest + torch.arange(min(len(labels), size), device=labels.device)) % size
        self.pretrained = self.pretrained.index_copy(0, places, pretrained[-size:])
        self.downstream = self.downstream.index_copy(0, places, downstream[-size:])
        self.labels = self.labels.index_copy(0, places, labels[-size:])  # the old ones are in the loss's graph
        self.oldest = (self.oldest + len(places)) % size

    @torch.no_grad()
    def _filled(self, context: Context) -> list[Tensor]:
        """The first rows, for which the pre-trained model alone can be asked."""
        was_training, rows = self.model.training, list[tuple[Tensor, Tensor, Tensor]]()
        self.model.eval()
        for batch in context.needs("dr_tune", "batches")(None):
            with recorded_inputs(self.ends) as read:
                forward_of(self.model)(batch)
            rows.append((full(read[0]), self._checked(read[1]), batch["labels"]))
            if sum(len(labels) for _, _, labels in rows) >= self.method.bank:
                break
        self.model.train(was_training)
        return [torch.cat(column)[: self.method.bank] for column in zip(*rows, strict=True)]

    def _checked(self, features: Tensor) -> Tensor:
        if features.dim() != 2:
            raise UserError(f"dr_tune cannot work for {self.model.config.model_type}: its head reads all tokens")
        return full(features.detach())
