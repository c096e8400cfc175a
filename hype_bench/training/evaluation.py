"""Scores a model on a split: large batches in order of length, predictions in data order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from hype_bench.contract.objective import forward_of
from hype_bench.tasks.metrics import Scores, score
from hype_bench.training.batches import Collator, evaluation_order
from hype_bench.training.tokens import Tokens


@dataclass(frozen=True)
class Evaluation:
    """``logits``: (examples, outputs), data order. ``scores``: all that belong to the task's metric."""

    labels: NDArray[Any]
    logits: NDArray[np.float32]
    scores: Scores

    @property
    def predictions(self) -> NDArray[Any]:
        return to_predictions(self.logits)


def to_predictions(logits: NDArray[np.float32]) -> NDArray[Any]:
    """Classes by the largest logit, or the one output of a regression."""
    return logits[:, 0].astype(np.float64) if logits.shape[1] == 1 else logits.argmax(axis=1)


def evaluate(
    model: PreTrainedModel, tokens: Tokens, collate: Collator, metric: str, autocast: torch.autocast
) -> Evaluation:
    """Predicts a split and scores it against its labels."""
    logits = predict(model, tokens, collate, autocast)
    return Evaluation(tokens.labels, logits, score(metric, tokens.labels, to_predictions(logits)))


def predict(model: PreTrainedModel, tokens: Tokens, collate: Collator, autocast: torch.autocast) -> NDArray[np.float32]:
    """Logits of a split, (examples, outputs), in data order; the model is left in the mode it was in."""
    was_training, outputs = model.training, int(model.config.num_labels or 1)
    model.eval()
    forward = forward_of(model)
    logits = np.empty((len(tokens), outputs), dtype=np.float32)
    with torch.inference_mode(), autocast:
        for indices in evaluation_order(tokens):
            batch = collate(tokens, indices)
            logits[indices] = forward(batch).logits.float().cpu().numpy()
    model.train(was_training)
    return logits
