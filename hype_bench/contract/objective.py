"""What is minimised: the task's loss, and the types of what techniques put around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

Batch = dict[str, Any]  # keyword arguments of the model's forward call, with "labels" and, mostly, "example_ids"
Forward = Callable[[Batch], Any]  # a batch -> the model's output (.logits); runs the model once
Loss = Callable[[Batch, Forward], tuple[Tensor, Any]]  # -> the scalar mean loss, the output of the first pass
Criterion = Callable[[Tensor, Tensor], Tensor]  # logits (examples, outputs) and labels -> the scalar mean loss

NOT_FOR_THE_MODEL = ("labels", "example_ids")  # the numbers of the examples in the training data


def task_loss(logits: Float[Tensor, "batch classes"], labels: Num[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The objective of plain fine-tuning: mean cross-entropy, or mean squared error of a regression.

    Args:
        logits: one column for a regression.
        labels: integers or, for a regression, floats.
    """
    if is_regression(labels):
        return F.mse_loss(full(logits).squeeze(-1), labels)
    return F.cross_entropy(full(logits), labels)


def is_regression(labels: Tensor) -> bool:
    """Whether the labels are numbers to be predicted rather than classes."""
    return labels.is_floating_point() and labels.dim() == 1


def full(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """In float32, unless it is that or wider already: where half precision would not do."""
    return x.float() if x.dtype.itemsize < 4 else x


def objective(batch: Batch, forward: Forward) -> tuple[Tensor, Any]:
    """:func:`task_loss` of one pass and the model's output: the innermost :data:`Loss`, which techniques wrap."""
    output = forward(batch)
    return task_loss(output.logits, batch["labels"]), output


def with_criterion(of_classes: Criterion | None, of_numbers: Criterion | None, innermost: Loss) -> Loss:
    """``innermost``, with the criterion of a technique in its place if there is one for such labels."""

    def replaced(batch: Batch, forward: Forward) -> tuple[Tensor, Any]:
        criterion = of_numbers if is_regression(batch["labels"]) else of_classes
        if criterion is None:
            return innermost(batch, forward)
        output = forward(batch)
        labels: Any = getattr(output, "labels", batch["labels"])  # see Rows
        return criterion(full(output.logits), labels), output

    return innermost if of_classes is None and of_numbers is None else replaced


def forward_of(model: Any) -> Forward:
    """Runs the model on a batch without showing it the labels, and which examples they are."""

    def forward(batch: Batch) -> Any:
        return model(**{name: value for name, value in batch.items() if name not in NOT_FOR_THE_MODEL})

    return forward
