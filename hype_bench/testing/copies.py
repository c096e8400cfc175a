"""Copies of a tiny model, six times as fast as those of ``copy.deepcopy``: it is pickled once, without its tensors."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import Tensor


def copies_of(model: Any) -> Callable[[], Any]:
    """What returns a copy of the model as it is now, each time it is called."""
    tensors: list[Tensor] = []
    buffer = io.BytesIO()
    _Pickler(buffer, tensors).dump(model)
    pickled, kept = buffer.getvalue(), deepcopy(tensors)
    return lambda: _Unpickler(io.BytesIO(pickled), deepcopy(kept)).load()


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(buffer)
        self.tensors = tensors

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, Tensor):
            return None
        self.tensors.append(value)
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(buffer)
        self.tensors = tensors

    def persistent_load(self, number: int) -> Tensor:
        return self.tensors[number]
