"""``hype-bench scale-intruders``: takes intruder dimensions out of finished runs, wholly or in part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hype_bench.analysis.editing.members import single_runs
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Adversarial, Device, ResultsDir, Save, existing, numbers

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.analysis.editing.members import State

GRID = "0,0.25,0.5,0.75"


def scale_intruders(
    factor: Annotated[str, typer.Option(help="What is left of them: 0 takes them out, 1 changes nothing.")] = GRID,
    k: Annotated[int, typer.Option(min=1, help="How many leading directions of each matrix are looked at.")] = 10,
    threshold: Annotated[float, typer.Option(help="The cosine below which a direction is an intruder.")] = 0.5,
    results_dir: ResultsDir = Path("results"),
    adversarial: Adversarial = False,
    save: Save = False,
    device: Device = "auto",
) -> None:
    """Scale the intruder dimensions of finished runs.

    Of each linear map of the layers, the leading directions that the pre-trained weights do not have (as
    analysis=intruder counts them) are scaled by the factor, singular value and both vectors; all else stays. Every
    factor gives a record, a row of `hype-bench table`. To choose one, train with data.selection_examples.

    Claim: with less of them a model forgets less of what it was pre-trained for, at nearly the same score on the task.

    Source: Shuttleworth, Andreas, Torralba and Sharma 2024, "LoRA vs Full Fine-tuning: An Illusion of Equivalence",
    https://arxiv.org/abs/2410.21228; code: reduce_intruder_dimension of peft 0.21.2, whose default is 0.75. That cuts
    the change back to LoRA's rank, which undoes a part; here the weights are merged, and nothing is cut. Its
    documentation says that a higher factor takes away more; its code does the opposite, as here.

    Cost: no training; two singular value decompositions of each matrix and one scoring of every split for each factor.
    """
    factors = numbers("factor", factor, least=0, most=1)
    (threshold,) = numbers("threshold", str(threshold), above=0, most=1)
    runs = single_runs(existing(results_dir), device)
    options = {"k": k, "threshold": threshold}
    edits = (Edit(members, "scale_intruders", {"factor": f, **options}) for members in runs for f in factors)
    edit_weights(edits, _scaled, results_dir, save, adversarial)


def _scaled(edit: Edit) -> tuple[State, dict[str, Any]]:
    import torch

    from hype_bench.models.layers import linear_maps
    from hype_bench.stats.directions import intruders

    members, options = edit.members, edit.options
    state, count = members.weights(), 0
    names = {f"{name}.weight" for name in linear_maps(members.scorer.model)} - members.above
    for name in sorted(name for name in names if members.depths[name]):
        start, end = (weights[name].double().numpy() for weights in (members.start, state))
        part, intruding = intruders(start, end, options["k"], options["threshold"])
        state[name] = torch.from_numpy(end + (options["factor"] - 1) * part).to(state[name])
        count += intruding
    return state, {"intruders": count}
