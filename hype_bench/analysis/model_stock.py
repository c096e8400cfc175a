"""``hype-bench model-stock``: from the mean of runs towards their start, as far as their angles say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hype_bench.analysis.editing.members import groups
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Adversarial, Device, ResultsDir, existing

if TYPE_CHECKING:  # torch comes with them
    from torch import Tensor

    from hype_bench.analysis.editing.members import State


def model_stock(
    results_dir: ResultsDir = Path("results"), adversarial: Adversarial = False, device: Device = "auto"
) -> None:
    """Average finished runs and their pre-trained start.

    The runs are those of `hype-bench soup`. Of each tensor, the more the runs agree in the direction in which they left
    the start, the nearer the result is to their mean.

    Claim: two runs suffice to come near the centre of many, which scores above each run.

    Source: Jang, Yun and Han 2024, "Model Stock: All we need is just a few fine-tuned models", ECCV,
    https://arxiv.org/abs/2403.19522. The authors' code is not released; this is the rule of arcee-ai/mergekit, commit
    a6e4028, a tensor at a time, which for more than two runs takes the mean cosine of all pairs. Here the share of the
    mean is kept within 0 and 1. Head and pooler, whose start the runs need not share, are averaged.

    Cost: no training; one scoring of every split.
    """
    edits = (
        Edit(members, "model_stock", {"members": members.names}) for members in groups(existing(results_dir), device)
    )
    edit_weights(edits, _stocked, results_dir, save=True, adversarial=adversarial)


def share_of_mean(start: Tensor, ends: Sequence[Tensor]) -> float:
    """``n c / (1 + (n - 1) c)`` for ``n`` runs, with ``c`` the mean cosine between their changes, within 0 and 1.

    0 where a tensor did not change.
    """
    changes = [(end - start).flatten() for end in ends]
    norms = [float(change.norm()) for change in changes]
    if min(norms) == 0:
        return 0.0
    pairs = list(combinations(range(len(ends)), 2))
    cosine = sum(float(changes[i] @ changes[j]) / (norms[i] * norms[j]) for i, j in pairs) / len(pairs)
    return min(max(len(ends) * cosine / (1 + (len(ends) - 1) * cosine), 0.0), 1.0) if cosine > 0 else 0.0


def stock(start: State, ends: Sequence[State], averaged: Collection[str] = ()) -> tuple[State, dict[str, float]]:
    """The new weights, and of each tensor the share of the mean in it.

    Args:
        averaged: the names of tensors whose start is not taken into account.
    """
    result: State = {}
    shares: dict[str, float] = {}
    for name, first in start.items():
        if not first.is_floating_point():
            result[name] = ends[0][name]
            continue
        values = [end[name] for end in ends]
        shares[name] = share = 1.0 if name in averaged else share_of_mean(first, values)
        result[name] = share * (sum(values[1:], values[0]) / len(values)) + (1 - share) * first
    return result, shares


def _stocked(edit: Edit) -> tuple[State, dict[str, Any]]:
    members = edit.members
    ends = [members.weights(name) for name in members.names]
    weights, shares = stock(members.start, ends, members.above)
    encoder = [share for name, share in shares.items() if name not in members.above]
    return weights, {"members": members.names, "mean_share": sum(encoder) / len(encoder)}
