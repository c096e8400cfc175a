"""Trains only the rows of the word embeddings that the data use.

The table of word embeddings is half of MiniLM's parameters and most of a multilingual model's, and a small task looks
up a fifth to a half of its rows. The others get no gradient, so an optimizer that passes over all of them at every
update works for nothing. While a model is trained, its table holds the used rows and one unused one. What acts on a
row without a gradient (decay, averaging, a pull towards its start) multiplies it by a number that is the same for all
such rows: that one row measures it, and in the end the others are given their share.
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
    """``ranks``: for every token number, its row in the smaller table. ``restore`` puts the whole table back."""

    ranks: NDArray[np.int64] | None = None
    restore: Callable[[], None] = lambda: None


def keep_used_rows(model: PreTrainedModel, used: NDArray[np.int64]) -> Vocabulary:
    """Takes the rows that no example uses out of the model's table of word embeddings.

    Numbers up to the padding token's keep theirs, because encoders ask for it. Models of other families, which may ask
    for further special tokens, and tables that are used up stay as they are.

    Args:
        used: the token numbers of all examples that the model will see, in any order.
    """
    if model.config.model_type not in FAMILIES:
        return Vocabulary()
    table: Any = model.get_input_embeddings()
    size, padding = len(table.weight), int(model.config.pad_token_id or 0)
    rows = np.union1d(np.arange(padding + 1), used)
    unused = np.setdiff1d(np.arange(size), rows)
    if len(unused) < 2:
        return Vocabulary()
    witness = int(unused[int(table.weight.detach()[torch.from_numpy(unused)].abs().amax(1).argmax())])
    rows = np.append(rows, witness)  # last: the ranks of the used rows stay in order
    ranks = np.full(size, len(rows) - 1)
    ranks[rows] = np.arange(len(rows))
    whole = table.weight.detach()
    kept = torch.from_numpy(rows).to(whole.device)
    table.weight.data = whole[kept]

    def restore() -> None:
        trained = table.weight.detach()
        whole.mul_(_factor(whole[witness], trained[-1]))
        whole[kept] = trained
        table.weight.data = whole

    return Vocabulary(ranks, restore)


def _factor(before: Tensor, after: Tensor) -> Tensor:
    """By how much a row without a gradient was multiplied, measured at its largest entry."""
    place = before.abs().argmax()
    return after[place] / before[place]
