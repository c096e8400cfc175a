"""The same noise on a GPU and on a CPU, to compare runs on the two: drawn on the CPU, in as many draws as on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from hype_bench.contract.noise import NoiseSource
from hype_bench.methods import child_tuning_f

_CPU = torch.device("cpu")


def _normal(source: NoiseSource, like: Any, site: str) -> Any:
    return torch.empty(like.shape, dtype=like.dtype).normal_(generator=source.generator(site, _CPU)).to(like.device)


def _uniform(source: NoiseSource, like: Any, site: str) -> Any:
    return torch.empty(like.shape, dtype=like.dtype).uniform_(generator=source.generator(site, _CPU)).to(like.device)


def _keep(source: NoiseSource, like: Any, p: float, site: str) -> Any:
    if p == 1:
        return None
    mask = torch.empty(like.shape, dtype=like.dtype).bernoulli_(p, generator=source.generator(site, _CPU))
    return mask.div_(p).to(like.device)


def _keep_(source: NoiseSource, values: Any, p: float, site: str) -> Any:
    keep = source.keep(values, p, site)
    return values if keep is None else values.mul_(keep)


def _keep_each(source: NoiseSource, likes: Any, p: float) -> Any:
    """One draw for all: a CPU makes one for each."""
    sizes = [like.numel() for like in likes.values()]
    every: Any = source.keep(next(iter(likes.values())).new_empty(sum(sizes)), p, "all")
    return {site: part.view_as(like) for (site, like), part in zip(likes.items(), every.split(sizes), strict=True)}


def _mask_each(masks: Any, gradients: Any) -> None:
    """Of the whole table of embeddings: a CPU masks the rows that were looked up."""
    for site, mask in masks.source.keep_each(gradients, masks.reserve_p).items():
        gradients[site].mul_(mask)


@contextlib.contextmanager
def same_noise() -> Iterator[None]:
    """Within, techniques draw the same on every device."""
    draws: dict[str, Any] = {
        "normal": _normal,
        "uniform": _uniform,
        "keep": _keep,
        "keep_": _keep_,
        "keep_each": _keep_each,
    }
    masks = mock.patch.object(child_tuning_f._FreshMasks, "_mask_each", _mask_each)
    with mock.patch.multiple(NoiseSource, **draws), masks:
        yield
