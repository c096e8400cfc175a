"""What a GPU would have been asked to do: launches, bytes, copies from and to the host, synchronisations."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from tests.cuda.waits import place

aten = torch.ops.aten
_WITHOUT_KERNEL = {  # allocate, or give a tensor another name
    aten.alias.default,
    aten.detach.default,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.lift_fresh.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten._reshape_alias.default,
    aten._unsafe_view.default,
}
_TENSORS_A_LAUNCH, _ENTRIES_A_LAUNCH = 110, 320 * 65536  # of torch's multi-tensor kernels
_WAITING = {  # for how large the result is, or for whether a solver has converged
    aten._linalg_check_errors.default,
    aten._linalg_eigh.default,
    aten._linalg_svd.default,
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.multinomial.default,
    aten.nonzero.default,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
_INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}


class Counts:
    """Counts while ``on``; a place in the code is ``folder/file.py function:line``.

    Attributes:
        launched: operators so far, counted or not.
        operations: launches by the operator's name.
        bytes: read and written by all launches.
        copies: from and to the host, by direction and place.
        synchronisations: where the host waits for the device, by what makes it wait and place.
    """

    def __init__(self) -> None:
        self.on = False
        self.launched = 0
        self.reset()

    def reset(self) -> None:
        self.operations: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.synchronisations: Counter[str] = Counter()
        self.bytes = 0

    @property
    def launches(self) -> int:
        return self.operations.total()

    def launch(self, operator: Any, arguments: Sequence[Any], tensors: Sequence[Tensor]) -> None:
        """``tensors``: all operands and results."""
        if operator in _WITHOUT_KERNEL or operator.is_view:
            return
        self.launched += 1
        if not self.on:
            return
        self.operations[str(operator)] += _launches(operator, arguments)
        self.bytes += sum(t.numel() * t.element_size() for t in tensors)

    def copy(self, direction: str, waits: bool) -> None:
        if self.on:
            self.copies[f"{direction} @ {place(_frames())}"] += 1
            if waits:
                self.synchronisations[f"copy {direction} @ {place(_frames())}"] += 1

    def wait(self, reason: str) -> None:
        if self.on:
            self.synchronisations[f"{reason} @ {place(_frames())}"] += 1


def _launches(operator: Any, arguments: Sequence[Any]) -> int:
    name = operator._schema.name
    if "_foreach_" not in name and "_fused_adam" not in name:
        return 1
    tensors = arguments[0]
    entries = sum(t.numel() for t in tensors)
    launches = max(1, -(-len(tensors) // _TENSORS_A_LAUNCH), -(-entries // _ENTRIES_A_LAUNCH))
    return 2 * launches if "_foreach_norm" in name else launches


def reason_to_wait(operator: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> str | None:
    """Why the host waits for the result of this operator, if it does."""
    if operator in _WAITING:
        return str(operator)
    if operator is aten.repeat_interleave.Tensor and keywords.get("output_size") is None:
        return str(operator)
    if operator not in _INDEXING:
        return None
    indices = [index for index in arguments[1] if index is not None]
    if any(index.device.type == "cpu" for index in indices):
        return f"{operator} with an index on the host"
    fills = len(arguments) > 2 and arguments[2].numel() == 1  # which torch turns into masked_fill
    if any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not fills:
        return f"{operator} with a mask"
    return None


def _frames() -> Iterator[FrameType]:
    """From the innermost one on."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
