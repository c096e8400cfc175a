"""Dropout whose masks are drawn in bulk: torch's own Bernoulli costs a sixth of an update on a CPU.

Sixteen random bits decide an entry, so the probability is a multiple of 2^-16 (0.1 becomes 0.100006) and the
survivors are scaled by exactly that. The bits are expanded from one number of torch's generator, so that
``torch.manual_seed`` fixes them and gradient checkpointing, which restores that generator, redraws the same mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

_LEVELS = 1 << 16
_PART = 1 << 17  # entries: half a MiB of mask


def keep_mask(like: Tensor, shape: Sequence[int], p: float, seed: int | None = None) -> Tensor | None:
    """0 with probability ``p`` (to 2^-17), else the inverse of the probability of keeping; None if nothing is dropped.

    Args:
        like: gives dtype and device (the CPU).
        seed: of the mask; without one it comes from torch's generator.
    """
    dropped = round(p * _LEVELS)
    if dropped == 0:
        return None
    if dropped == _LEVELS:
        return like.new_zeros(shape)
    seed = int(torch.empty((), dtype=torch.int64).random_()) if seed is None else seed % 2**64
    words = np.random.SFC64(seed).random_raw(math.ceil(math.prod(shape) / 4))
    bits = torch.from_numpy(words.view(np.int16))[: math.prod(shape)].view(shape)
    keep = like.new_empty(shape)
    torch.ge(bits, dropped - _LEVELS // 2, out=keep)  # four times as fast as by way of a mask of bools
    return keep.mul_(_LEVELS / (_LEVELS - dropped))


def drop_(values: Float[Tensor, "*shape"], p: float, seed: int) -> Float[Tensor, "*shape"]:
    """``values.mul_(keep_mask(values, values.shape, p, seed))``, in parts whose masks fit in the processor's cache.

    Args:
        values: contiguous, on the CPU; changed in place.
    """
    dropped = round(p * _LEVELS)
    if dropped in (0, _LEVELS):
        return values if dropped == 0 else values.zero_()
    stream, scale, nothing = np.random.SFC64(seed % 2**64), _LEVELS / (_LEVELS - dropped), values.new_zeros(())
    flat = values.view(-1)
    keep = flat.new_empty(min(_PART, len(flat)))
    for part in flat.split(_PART):
        words = stream.random_raw(math.ceil(len(part) / 4))
        bits, kept = torch.from_numpy(words.view(np.int16))[: len(part)], keep[: len(part)]
        torch.ge(bits, dropped - _LEVELS // 2, out=kept)
        torch.addcmul(nothing, part, kept, value=scale, out=part)
    return values


def bulk_dropout(x: Float[Tensor, "*shape"], p: float) -> Float[Tensor, "*shape"]:
    """Dropout with the mask of :func:`keep_mask`. Reference: Srivastava et al. 2014, "Dropout"."""
    keep = keep_mask(x, x.shape, p)
    return x if keep is None else x * keep


class BulkDropout(nn.Dropout):
    """Replaces a ``nn.Dropout`` on the CPU."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return bulk_dropout(x, self.p) if self.training else x


def install_bulk_dropout(model: nn.Module) -> Callable[[], None]:
    """Replaces every ``nn.Dropout`` of the model; returns what restores the originals."""
    replaced: list[tuple[nn.Module, str, nn.Dropout]] = []
    for path, module in list(model.named_modules()):
        if type(module) is nn.Dropout:
            parent, name = model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
            bulk = BulkDropout(module.p).train(module.training)
            setattr(parent, name, bulk)
            replaced.append((parent, name, module))

    def restore() -> None:
        for parent, name, original in replaced:
            original.p = getattr(parent, name).p
            original.train(parent.training)
            setattr(parent, name, original)

    return restore
