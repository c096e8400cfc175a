"""``hype-bench wise-ft``: weights on the line from the pre-trained to the fine-tuned ones."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hype_bench.analysis.editing.members import single_runs
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Adversarial, Device, ResultsDir, Save, existing, numbers

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.analysis.editing.members import State

GRID = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"


def wise_ft(
    alpha: Annotated[str, typer.Option(help="Weights of the fine-tuned model, from 0 to 1.")] = GRID,
    results_dir: ResultsDir = Path("results"),
    adversarial: Adversarial = False,
    save: Save = False,
    device: Device = "auto",
) -> None:
    """Interpolate each finished run with its pre-trained start.

    Every alpha gives a record of its own, a row of `hype-bench table`. To choose one, train with
    data.selection_examples, whose score stands in each record; the best score on the reported split is no choice.

    Claim: between the two ends of the line the model keeps its accuracy and is more robust to a shift of the data.

    Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", CVPR, https://arxiv.org/abs/2109.01903;
    code: mlfoundations/wise-ft, commit 58b7a4b. The released code interpolates every weight, as CLIP has a zero-shot
    head. An encoder has none: head and pooler stay as fine-tuned at every alpha, and integer buffers are left alone.

    Cost: no training; one scoring of every split for each alpha.
    """
    weights = numbers("alpha", alpha, least=0, most=1)
    runs = single_runs(existing(results_dir), device)
    edits = (Edit(members, "wise_ft", {"alpha": weight}) for members in runs for weight in weights)
    edit_weights(edits, _interpolated, results_dir, save, adversarial)


def interpolate(start: State, end: State, alpha: float, keep: Collection[str] = ()) -> State:
    """``(1 - alpha) * start + alpha * end`` of every floating-point tensor; those of ``keep`` as in ``end``."""
    return {
        name: (1 - alpha) * start[name] + alpha * value if value.is_floating_point() and name not in keep else value
        for name, value in end.items()
    }


def _interpolated(edit: Edit) -> tuple[State, dict[str, Any]]:
    members = edit.members
    return interpolate(members.start, members.weights(), edit.options["alpha"], members.above), {}
