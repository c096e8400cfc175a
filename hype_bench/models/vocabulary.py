"""Trains only the rows of the word embeddings that the data use.

The table of word embeddings is half of MiniLM's parameters and most of a multilingual model's, and a small task looks
up a fifth to a half of its rows. The others get no gradient, so an optimizer that visits them all at every update
wastes its time. While a model is trained, its table holds the used rows and one unused one. What acts on a row
without a gradient (decay, averaging, a pull towards its start) multiplies it by a number that is the same for all such
rows: the one unused row measures it, and at the end the others are multiplied by it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

FAMILIES = ("bert", "roberta", "electra", "xlm-roberta", "camembert", "xlnet", "deberta", "deberta-v2")


@dataclass(frozen=True)
class Vocabulary:
    """``rows``: for every token id, its row in the smaller table. ``restore`` puts the full table back."""

    rows: NDArray[np.int64] | None = None
    restore: Callable[[], None] = lambda: None


def keep_used_rows(model: PreTrainedModel, used: NDArray[np.int64]) -> Vocabulary:
    """Removes the rows that no example uses from the model's table of word embeddings.

    Ids up to the padding token's keep their rows, because encoders look it up. Models of other families, which may look
    up further special tokens, and tables that are fully used stay as they are.

    Args:
        used: the token ids of all examples that the model will see, in any order.
    """
    if model.config.model_type not in FAMILIES:
        return Vocabulary()
    table: Any = model.get_input_embeddings()
    size, padding = len(table.weight), int(model.config.pad_token_id or 0)
    kept = np.union1d(np.arange(padding + 1), used)
    unused = np.setdiff1d(np.arange(size), kept)
    if len(unused) < 2:
        return Vocabulary()
    witness = int(unused[int(table.weight.detach()[torch.from_numpy(unused)].abs().amax(1).argmax())])
    kept = np.append(kept, witness)  # last: the used rows stay in order
    rows = np.full(size, len(kept) - 1)
    rows[kept] = np.arange(len(kept))
    full = table.weight.detach()
    indices = torch.from_numpy(kept).to(full.device)
    table.weight.data = full[indices]

    def restore() -> None:
        trained = table.weight.detach()
        full.mul_(_factor(full[witness], trained[-1]))
        full[indices] = trained
        table.weight.data = full

    return Vocabulary(rows, restore)


def _factor(before: Tensor, after: Tensor) -> Tensor:
    """By how much a row without a gradient was multiplied, measured at its largest entry."""
    largest = before.abs().argmax()
    return after[largest] / before[largest]
