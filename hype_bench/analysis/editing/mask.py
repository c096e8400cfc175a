"""Which weights a graft takes: those that moved most, and a mask that is trained from there on the task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import torch
from torch import Tensor

from hype_bench.training.seeds import derive

State = dict[str, Tensor]  # a state dict
BIAS = 10.0  # of the scores, as published: a mask starts within 1.3e-4 of the base mask


def moved_most(start: State, end: State, share: float, keep: Collection[str] = ()) -> State:
    """A mask of each floating-point tensor outside ``keep``: True where it moved further than the share's last entry.

    With ``k`` entries in the share, all tensors together, these are ``k - 1``, or fewer where several moved alike.
    """
    moved = {
        name: (value - start[name]).abs()
        for name, value in end.items()
        if value.is_floating_point() and name not in keep
    }
    largest = _kth_largest(list(moved.values()), share)
    return {name: change > largest for name, change in moved.items()}


def _kth_largest(changes: list[Tensor], share: float) -> float:
    """Of all entries, the last one of the largest share; infinite if the share holds none."""
    k = int(share * sum(change.numel() for change in changes))
    if k == 0:
        return float("inf")
    kept = [change.flatten().topk(min(k, change.numel())).values for change in changes]  # never all in one tensor
    candidates = kept[0].new_empty(sum(map(len, kept)))
    place = 0
    for values in kept:
        candidates[place : place + len(values)] = values
        place += len(values)
    return float(candidates.topk(k).values[-1])


def put_in(start: State, end: State, masks: Mapping[str, Tensor]) -> State:
    """``end`` where a mask is True, ``start`` where it is False; tensors without a mask as in ``end``."""
    return {name: value.where(masks[name], start[name]) if name in masks else value for name, value in end.items()}


def overlap(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """``|a & b| / |a|``; NaN if ``a`` has no entry."""
    entries = sum(int(mask.sum()) for mask in a.values())
    shared = sum(int((mask & b[name]).sum()) for name, mask in a.items())
    return shared / entries if entries else float("nan")


def initial_scores(base: Mapping[str, Tensor], like: State, seed: int) -> State:
    """Uniform in [0, 1)."""
    generator = torch.Generator().manual_seed(derive(seed, "graft"))
    return {name: torch.rand(mask.shape, generator=generator).to(like[name]) for name, mask in base.items()}


def soft(base: Mapping[str, Tensor], scores: State, bias: float = BIAS) -> State:
    """Of a base mask s and scores S the mask ``s + (1 - 2 s) sigmoid(S - bias)``, between 0 and 1."""
    return {name: torch.where(base[name], bias - score, score - bias).sigmoid() for name, score in scores.items()}


def trained_masks(
    start: State,
    end: State,
    base: Mapping[str, Tensor],
    scores: State,
    gradients: Callable[[State], Mapping[str, Tensor]],
    epochs: int,
    rate: float,
    bias: float = BIAS,
) -> Iterator[dict[str, Tensor]]:
    """The mask after each epoch, which is one step of gradient descent on the scores.

    Args:
        base: which entries the mask starts from.
        scores: S at the start; they change in place.
        gradients: of the mean loss at given weights, by name; a tensor that it leaves out keeps its base mask.
    """
    for _ in range(epochs):
        mask = soft(base, scores, bias)
        weights = {name: start[name].lerp(value, mask[name]) if name in mask else value for name, value in end.items()}
        for name, gradient in gradients(weights).items():
            if name in scores:
                slope = (scores[name] - bias).sigmoid()
                slope = slope * (1 - slope) * (1 - 2 * base[name].to(gradient))
                scores[name] -= rate * slope * gradient * (end[name] - start[name])
        yield {name: mask.round().bool() for name, mask in soft(base, scores, bias).items()}
