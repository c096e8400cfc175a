"""Pictures of an experiment for a paper or a page: one file a kind, drawn from its cells, a column wide."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hype_bench.render.report import Experiment

ANSWER = "answer"
KINDS = {
    ANSWER: "every technique against its controls, with the margin",
    "seeds": "a dot per seed, beside the mean and its 95 % interval",
    "curves": "training curves of every cell: all seeds, and their mean",
    "budget": "the best score to be expected of so many configurations",
    "ranks": "mean ranks over the tasks, and which of them are not told apart",
    "combinations": "every technique alone and in its combination, as bars with intervals",
    "layers": "what an analysis measured of every layer: a line per technique",
    "footprint": "time of an update and peak memory of every technique, relative to vanilla",
    "paper": "the difference to the cells that the paper printed",
}


def draw(kind: str, experiment: Experiment, margin: float | None = None) -> dict[str, Figure]:
    """The pictures of one kind: what tells them apart -> figure. Empty where nothing can be drawn yet.

    Args:
        kind: a key of :data:`KINDS`.
        margin: of an answer, as a fraction; by default that of ``hype-bench answer``.

    Raises:
        UserError: the experiment has nothing of this kind, a record cannot be read, or the margin is negative.
    """
    module = import_module(f"{__name__}.{kind}")
    drawn: dict[str, Figure]
    if kind == ANSWER and margin is not None:
        from hype_bench.tables.compare import Criteria

        drawn = module.draw(experiment, Criteria(margin, resampled=False))
    else:
        drawn = module.draw(experiment)
    return drawn
