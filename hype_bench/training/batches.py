"""Which examples make up a batch, and a batch as the model takes it: packed into one row, or padded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from hype_bench.models.attention import Packing
from hype_bench.models.packing import first_position, is_packed
from hype_bench.training.graphs import Buckets
from hype_bench.training.tokens import Tokens

Indices = NDArray[np.int64]
_ALIGNMENT = 16  # bytes


def training_order(examples: int, batch_size: int, steps: int, seed: int) -> Iterator[Indices]:
    """The batches of ``steps`` updates: every epoch a fresh permutation, its last batch what is left."""
    generator = torch.Generator().manual_seed(seed)
    epochs = math.ceil(steps / math.ceil(examples / batch_size))
    for epoch in range(epochs):
        order = torch.randperm(examples, generator=generator).numpy()
        batches = np.split(order, range(batch_size, examples, batch_size))
        yield from batches[: steps - epoch * len(batches)]


def evaluation_order(tokens: Tokens, most_tokens: int = 8192) -> Iterator[Indices]:
    """Batches in order of length, each of at most ``most_tokens`` tokens once padded (or of one example)."""
    order = np.argsort(tokens.lengths, kind="stable")
    batch: list[int] = []
    for index in order[::-1]:  # longest first: the first batch shows whether memory suffices
        if batch and tokens.lengths[batch[0]] * (len(batch) + 1) > most_tokens:
            yield np.asarray(batch)
            batch = []
        batch.append(int(index))
    if batch:
        yield np.asarray(batch)


@dataclass(frozen=True)
class Collator:
    """Turns examples into the keyword arguments of a model's forward call, and their numbers into ``example_ids``.

    Attributes:
        packed: one row for the whole batch (see ``models.packing``) instead of padding to its longest.
        first_position: the position number of a sequence's first token (packed rows only).
        pad_token, pad_left: as the tokenizer has them.
        rows: for every token id, its row in the model's table, if that is not the id (``models.vocabulary``).
        buckets: the sizes to which packed rows are filled up, if they are.
    """

    packed: bool
    device: torch.device
    first_position: int = 0
    pad_token: int = 0
    pad_left: bool = False
    rows: NDArray[np.int64] | None = None
    buckets: Buckets | None = None

    def __call__(self, tokens: Tokens, indices: Indices) -> dict[str, Any]:
        labels = torch.from_numpy(tokens.labels[indices])
        batch = self._packed(tokens, indices) if self.packed else self._padded(tokens, indices)
        batch["labels"] = labels.float() if labels.is_floating_point() else labels
        batch["example_ids"] = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return to_device(batch, self.device)

    def _packed(self, tokens: Tokens, indices: Indices) -> dict[str, Any]:
        lengths = tokens.lengths[indices].tolist()
        rows = _rows(tokens.bounds, indices)
        filler = self.buckets.filler(len(lengths), len(rows)) if self.buckets else 0
        longest = self.buckets.longest if self.buckets and filler else 0
        positions = np.fromiter(chain.from_iterable(map(range, lengths)), dtype=np.int64, count=len(rows))
        batch: dict[str, Any] = {
            "input_ids": _row(self._ids(tokens, rows), filler),
            "position_ids": _row(positions + self.first_position, filler, self.first_position),
            "packing": Packing.of(lengths, filler, longest),
        }
        if tokens.types is not None:
            batch["token_type_ids"] = _row(tokens.types[rows], filler)
        return batch

    def _padded(self, tokens: Tokens, indices: Indices) -> dict[str, Any]:
        lengths = tokens.lengths[indices]
        mask = np.arange(lengths.max())[None] < lengths[:, None]
        if self.pad_left:
            mask = mask[:, ::-1]
        rows = _rows(tokens.bounds, indices)
        batch = {"input_ids": _fill(mask, self._ids(tokens, rows), self.pad_token), "attention_mask": _long(mask)}
        if tokens.types is not None:  # XLNet's tokenizer gives padding a segment of its own
            batch["token_type_ids"] = _fill(mask, tokens.types[rows], 3 if self.pad_left else 0)
        return batch

    def _ids(self, tokens: Tokens, positions: NDArray[np.int64]) -> NDArray[Any]:
        return tokens.ids[positions] if self.rows is None else self.rows[tokens.ids[positions]]


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch on the device; to CUDA in one copy that the host does not wait for."""
    if device.type != "cuda":
        return {name: value.to(device) for name, value in batch.items()}
    packing = batch.get("packing")
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    if packing is not None:
        tensors["packing"] = packing.cu_seqlens
    pieces = [tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors.values()]
    sizes = [-len(piece) % _ALIGNMENT + len(piece) for piece in pieces]
    staged = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=True)
    for piece, room in zip(pieces, staged.split(sizes), strict=True):
        room[: len(piece)] = piece
    rooms = staged.to(device, non_blocking=True).split(sizes)
    moved = {
        name: room[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for (name, tensor), room in zip(tensors.items(), rooms, strict=True)
    }
    return moved if packing is None else moved | {"packing": replace(packing, cu_seqlens=moved["packing"])}


def collator_for(model: PreTrainedModel, tokenizer: Any, device: torch.device) -> Collator:
    """Packed rows if packing is attached to the model, else padding as the tokenizer has it."""
    packed = is_packed(model)
    return Collator(
        packed=packed,
        device=device,
        first_position=first_position(model) if packed else 0,
        pad_token=tokenizer.pad_token_id or 0,
        pad_left=tokenizer.padding_side == "left",
    )


def _rows(bounds: NDArray[np.int64], indices: Indices) -> NDArray[np.int64]:
    """The positions in the flat arrays of all tokens of these examples, one example after the other."""
    return np.concatenate([np.arange(bounds[i], bounds[i + 1]) for i in indices])


def _row(values: NDArray[Any], filler: int, padding: int = 0) -> Tensor:
    return _long(np.pad(values, (0, filler), constant_values=padding))[None]


def _fill(mask: NDArray[np.bool_], values: NDArray[Any], padding: int) -> Tensor:
    filled = np.full(mask.shape, padding, dtype=np.int64)
    filled[mask] = values
    return torch.from_numpy(filled)


def _long(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


def split_evenly(indices: Indices, micro_batches: int) -> list[Indices]:
    """A batch in at most ``micro_batches`` parts of nearly equal size, none empty."""
    micro_batches = min(micro_batches, len(indices))
    edges = np.linspace(0, len(indices), micro_batches + 1).round().astype(int)
    return [indices[a:b] for a, b in pairwise(edges)]
