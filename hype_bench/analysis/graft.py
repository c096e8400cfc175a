"""``hype-bench graft``: puts the weights that moved most into the pre-trained model, and scores it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hype_bench.analysis.editing.members import single_runs
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Adversarial, Device, ResultsDir, Save, existing, numbers

if TYPE_CHECKING:  # torch comes with them
    from torch import Tensor

    from hype_bench.analysis.editing.members import State

GRID = "0.0001,0.001,0.01,0.03,0.1,0.3,1"


def graft(
    share: Annotated[str, typer.Option(help="Shares of the weights that are grafted, above 0 up to 1.")] = GRID,
    results_dir: ResultsDir = Path("results"),
    adversarial: Adversarial = False,
    save: Save = False,
    device: Device = "auto",
) -> None:
    """Graft the weights that moved most onto the pre-trained model.

    All others go back to their start. The score as a function of the share says in how many weights the gain of
    fine-tuning lies. Every share gives a record, a row of `hype-bench table`.

    Claim: a small part of the weights carries nearly all of the gain.

    Source: Panigrahi et al. 2023, "Task-specific skill localization in fine-tuned language models", ICML,
    https://arxiv.org/abs/2302.06600; code: abhishekpanigrahi1996/Skill-Localization-by-grafting, commit 76f4aa8. This
    is its base mask, the entries of the encoder that moved most: strictly further than the last one of the share, as
    released. The training of the mask that follows there is left out: its rates were found for few-shot runs with SGD.
    Adam moves nearly all weights by like amounts, so expect larger shares than the paper's 0.01 %. Head and pooler stay
    as fine-tuned: a new head has no start.

    Cost: no training; one scoring of every split for each share.
    """
    shares = numbers("share", share, above=0, most=1)
    runs = single_runs(existing(results_dir), device)
    edits = (Edit(members, "graft", {"share": part}) for members in runs for part in shares)
    edit_weights(edits, _grafted, results_dir, save, adversarial)


def moved_most(start: State, end: State, share: float, keep: Collection[str] = ()) -> dict[str, Tensor]:
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


def put_in(start: State, end: State, masks: dict[str, Tensor]) -> State:
    """``end`` where a mask is True, ``start`` where it is False; tensors without a mask as in ``end``."""
    return {name: value.where(masks[name], start[name]) if name in masks else value for name, value in end.items()}


def _grafted(edit: Edit) -> tuple[State, dict[str, Any]]:
    members, end = edit.members, edit.members.weights()
    masks = moved_most(members.start, end, edit.options["share"], members.above)
    entries: Counter[str] = Counter()
    for name, mask in masks.items():
        entries[_place(members.depths.get(name, 0))] += int(mask.sum())
    return put_in(members.start, end, masks), {"entries": entries.total(), "entries_of": dict(entries)}


def _place(depth: int) -> str:
    return f"layer {depth}" if depth else "embeddings"
