"""``hype-bench lines``: takes lower layers further back to their pre-trained weights than upper ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hype_bench.analysis.editing.members import single_runs
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Adversarial, Device, ResultsDir, Save, existing, numbers

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.analysis.editing.members import State

GRID = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"


def lines(
    alpha: Annotated[str, typer.Option(help="The scale of the lowest layer's change, from 0 to 1.")] = GRID,
    results_dir: ResultsDir = Path("results"),
    adversarial: Adversarial = False,
    save: Save = False,
    device: Device = "auto",
) -> None:
    """Scale the change of each layer of finished runs by its depth (LiNeS).

    The scale grows from alpha at the lowest layer to 1 at the highest; embeddings have alpha. Every alpha gives a
    record, a row of `hype-bench table`. To choose one, train with data.selection_examples.

    Claim: what the pre-trained model can do beside the task is kept, at nearly the same score on the task.

    Source: Wang et al. 2024, "LiNeS: post-training layer scaling prevents forgetting and enhances model merging",
    https://arxiv.org/abs/2410.17146; code: wang-kee/LiNeS, commit 43a7bdd. That is for CLIP, whose control score is
    that of its zero-shot head on other tasks; an encoder has no such head, so look at sets from other domains. Head and
    pooler stay as fine-tuned (released: alpha for the pooler).

    Cost: no training; one scoring of every split for each alpha.
    """
    scales = numbers("alpha", alpha, least=0, most=1)
    runs = single_runs(existing(results_dir), device)
    edits = (Edit(members, "lines", {"alpha": scale}) for members in runs for scale in scales)
    edit_weights(edits, _scaled, results_dir, save, adversarial)


def scales_of(depths: Mapping[str, int], layers: int, alpha: float, beta: float | None = None) -> dict[str, float]:
    """``alpha + beta * l / (layers - 1)`` for the tensors of layer ``l``, counted from 0.

    Args:
        depths: of each tensor: 0 for embeddings, 1 for the lowest layer, one more than ``layers`` for what is above
            them, which has the scale of the highest layer.
        beta: by default ``1 - alpha``, so that the highest layer has 1.
    """
    slope = 1 - alpha if beta is None else beta

    def scale(depth: int) -> float:
        place = min(max(depth - 1, 0), layers - 1)
        return alpha + slope * (place / (layers - 1) if layers > 1 else float(depth > 0))

    return {name: scale(depth) for name, depth in depths.items()}


def scale_changes(start: State, end: State, scales: Mapping[str, float]) -> State:
    """``start + scale * (end - start)``; a tensor without a scale, or with 1, stays as it is in ``end``."""
    return {
        name: value if scales.get(name, 1.0) == 1 else start[name] + scales[name] * (value - start[name])
        for name, value in end.items()
    }


def _scaled(edit: Edit) -> tuple[State, dict[str, Any]]:
    members = edit.members
    depths = {name: depth for name, depth in members.depths.items() if name not in members.above}
    layers = max(members.depths.values()) - 1  # what is above the layers is one higher
    return scale_changes(members.start, members.weights(), scales_of(depths, layers, edit.options["alpha"])), {}
