"""Techniques around the loss that a model, or ``transformers.Trainer``, computes itself: any task that has one.

Techniques compare outputs as rows of logits. Here a row is whatever the task's loss is a mean over: an example, a token
with a label, one end of an answer, or one of several labels. A divergence per row then generalises as its paper does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hype_bench.contract.method import Method
from hype_bench.contract.objective import NOT_FOR_THE_MODEL, Batch, Forward, Loss
from hype_bench.options import UserError

_ANSWER = ("start_positions", "end_positions")  # the labels of question answering
_IGNORED = -100  # the label of a token without one


class Rows:
    """The output of a pass, whose ``logits`` and ``labels`` are rows; all else is the model's own.

    Args:
        output: the model's.
        batch: with its labels, as :func:`for_techniques` makes it.
    """

    def __init__(self, output: Any, batch: Batch, model: Any) -> None:
        self.output, self._batch, self._model = output, batch, model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.output, name)

    @property
    def logits(self) -> Float[Tensor, "rows classes"]:
        return self._rows[0]

    @property
    def labels(self) -> Shaped[Tensor, " rows"]:
        return self._rows[1]

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        labels, output = self._batch["labels"], self.output
        if hasattr(output, "start_logits"):
            return torch.cat([output.start_logits, output.end_logits]), labels
        if self._model.config.problem_type == "regression" and labels.dim() > 1:
            raise UserError("a technique here compares outputs, and knows regressions with one number an example only")
        return as_rows(getattr(output, "logits", torch.zeros(())), labels, is_shifted(self._model))


def as_rows(
    logits: Float[Tensor, "*shape"], labels: Shaped[Tensor, "*positions"], shifted: bool = False
) -> tuple[Float[Tensor, "rows classes"], Shaped[Tensor, " rows"]]:
    """Logits and labels such that the task's loss is the mean cross-entropy (or squared error) over rows.

    Args:
        shifted: whether the logits at a token are of the next one.

    Several labels an example are a row each, with the logits (0, z): their softmax is z's sigmoid.

    Raises:
        UserError: these shapes are of no task that is known here.
    """
    if logits.dim() == 2 and labels.dim() == 1:
        return logits, labels
    if logits.dim() == 2 and labels.shape == logits.shape:
        flat = logits.flatten()
        return torch.stack([torch.zeros_like(flat), flat], -1), labels.flatten().long()
    if logits.dim() == 3 and labels.shape == logits.shape[:2]:
        if shifted:
            logits, labels = logits[:, :-1], labels[:, 1:]
        has_label = labels != _IGNORED
        return logits[has_label], labels[has_label]
    raise UserError(
        f"a technique here compares logits, and does not know those of this model: {list(logits.shape)} for labels "
        f"{list(labels.shape)}"
    )


def is_shifted(model: Any) -> bool:
    """Whether the logits at a token are of the next one, as in causal language models."""
    return model.loss_type == "ForCausalLM" or type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()


def check_labels(methods: Mapping[str, Method], batch: Batch) -> None:
    """Raises UserError if a technique reads one label an example, of which this batch has none."""
    has_one = _ANSWER[0] not in batch and batch["labels"].dim() == 1
    for name, method in methods.items():
        if method.per_example and not has_one:
            raise UserError(f"{name} reads one label an example: a task of tokens, answers or several labels has none")


def for_techniques(batch: Batch, model: PreTrainedModel) -> Batch:
    """The batch with ``labels`` as techniques read them: of a regression floats, one an example; of question answering
    the starts and then the ends.

    Raises:
        UserError: it has none.
    """
    if all(name in batch for name in _ANSWER):
        return {**batch, "labels": torch.cat([batch[name].flatten() for name in _ANSWER])}
    if "labels" not in batch:
        raise UserError("techniques that act on the loss need a batch with labels")
    labels, config = batch["labels"], model.config
    if model.loss_type != "ForSequenceClassification":
        return batch
    if config.num_labels == 1 and config.problem_type in (None, "regression"):
        return {**batch, "labels": labels.flatten().float()}
    return batch if labels.is_floating_point() else {**batch, "labels": labels.flatten()}


def as_input(batch: Batch) -> Batch:
    """What the model takes: without the numbers of examples, and what :func:`for_techniques` has added."""
    hidden = ("example_ids", "labels") if _ANSWER[0] in batch else ("example_ids",)
    return {name: value for name, value in batch.items() if name not in hidden}


def without_labels(batch: Batch) -> Batch:
    return {name: value for name, value in batch.items() if name not in (*NOT_FOR_THE_MODEL, *_ANSWER)}


def forward_in_rows(call: Any, model: PreTrainedModel) -> Forward:
    """One pass through ``call``, the model or what is around it, without the labels unless the model's input is made of
    them, as in encoder-decoders."""
    shows = bool(model.config.is_encoder_decoder)
    return lambda batch: Rows(call(**(as_input(batch) if shows else without_labels(batch))), batch, model)


def own_loss(call: Any, model: PreTrainedModel) -> Loss:
    """The loss that the model computes itself, called through ``call``."""

    def loss(batch: Batch, forward: Forward) -> tuple[Tensor, Any]:
        output = call(**as_input(batch))
        if getattr(output, "loss", None) is None:
            raise UserError(f"{type(model).__name__} returns no loss for this batch: give objective=...")
        return output.loss, Rows(output, batch, model)

    return loss
