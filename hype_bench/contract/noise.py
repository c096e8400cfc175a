"""Random tensors of a technique's own, beside torch's generators."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hype_bench.models.dropout import drop_, keep_mask


def seed_of(key: str) -> int:
    """A 64-bit seed from any text."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


class NoiseSource:
    """Random tensors of a technique's own, as a function of (seed, forward pass, site) and of nothing else.

    Data order and head are thus the same for every technique, and a forward pass that gradient checkpointing runs
    again draws what it drew before (:meth:`Randomness.checkpointed`). Passes in training alone count (:meth:`watch`):
    how often the model is scored in between changes nothing.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.key = f"{seed}/{name}"
        self.forward = 0
        self._on_device: Tensor | None = None  # the same number, for kernels

    def next_forward(self) -> None:
        self.forward += 1
        if self._on_device is not None:
            self._on_device += 1  # which a CUDA graph does again at every replay

    def set_forward(self, forward: int) -> None:
        """Goes to another pass."""
        if forward != self.forward and self._on_device is not None:
            self._on_device.fill_(forward)
        self.forward = forward

    def watch(self, model: nn.Module, args: Any) -> None:
        """A forward pre-hook of the model."""
        if model.training:
            self.next_forward()

    def seed(self, site: str) -> int:
        return seed_of(f"{self.key}/{self.forward}/{site}")

    def generator(self, site: str, device: torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(self.seed(site))

    def normal(self, like: Float[Tensor, "*shape"], site: str) -> Float[Tensor, "*shape"]:
        """N(0, 1) with the dtype and device of ``like``."""
        if has_kernels(like):
            return self._drawn(like, like.dtype, site, "normal")
        return torch.empty_like(like).normal_(generator=self.generator(site, like.device))

    def uniform(self, like: Float[Tensor, "*shape"], site: str) -> Float[Tensor, "*shape"]:
        """U[0, 1) with the dtype and device of ``like``."""
        if has_kernels(like):
            return self._drawn(like, like.dtype, site, "uniform")
        return torch.empty_like(like).uniform_(generator=self.generator(site, like.device))

    def draw(self, like: Float[Tensor, "*shape"], site: str, distribution: str) -> Float[Tensor, "*shape"]:
        """:meth:`normal` or :meth:`uniform`, by name."""
        return self.normal(like, site) if distribution == "normal" else self.uniform(like, site)

    def keep(self, like: Float[Tensor, "*shape"], p: float, site: str) -> Float[Tensor, "*shape"] | None:
        """1/p with probability ``p``, else 0, independently for every entry; None if every entry stays.

        On a CPU ``p`` is taken to the nearest multiple of 2^-16 and scaled by its own inverse, see ``keep_mask``.
        """
        if p == 1:
            return None
        if like.device.type == "cpu":
            return keep_mask(like, like.shape, 1 - p, self.seed(site))
        if has_kernels(like):
            return (self._drawn(like, torch.float32, site, "uniform") < p).to(like.dtype).div_(p)
        return torch.empty_like(like).bernoulli_(p, generator=self.generator(site, like.device)).div_(p)

    def keep_each(self, likes: Mapping[str, Tensor], p: float) -> dict[str, Tensor]:
        """:meth:`keep` for several sites of one device, with ``p`` below 1; on a GPU one draw serves all of them."""
        first = next(iter(likes.values()))
        if first.device.type == "cpu":
            masks = [self.keep(like, p, site) for site, like in likes.items()]
        else:
            sizes = [like.numel() for like in likes.values()]
            every = self.keep(first.new_empty(sum(sizes)), p, "all")
            assert every is not None  # p is below 1
            masks = list(every.split(sizes))
        return {site: mask.view_as(likes[site]) for site, mask in zip(likes, masks, strict=True) if mask is not None}

    def keep_(self, values: Float[Tensor, "*shape"], p: float, site: str) -> Float[Tensor, "*shape"]:
        """Multiplies by :meth:`keep` in place."""
        if values.device.type == "cpu" and values.is_contiguous() and p < 1:
            return drop_(values, 1 - p, self.seed(site))
        keep = self.keep(values, p, site)
        return values if keep is None else values.mul_(keep)

    def _drawn(self, like: Tensor, dtype: torch.dtype, site: str, distribution: str) -> Tensor:
        from hype_bench.contract import philox  # imports Triton

        if self._on_device is None or self._on_device.device != like.device:
            self._on_device = torch.full((), self.forward, dtype=torch.int64, device=like.device)
        return philox.draw(like.shape, dtype, self._on_device, seed_of(f"{self.key}/{site}"), distribution)


@functools.cache
def has_triton() -> bool:
    """Whether random tensors on CUDA can be drawn by a kernel: Triton comes with torch on Linux only."""
    return importlib.util.find_spec("triton") is not None


def has_kernels(like: Tensor) -> bool:
    """Whether tensors on the device of ``like`` are drawn by such a kernel."""
    return like.device.type == "cuda" and has_triton()
