"""For techniques that compare passes over one batch: whose dropout masks, and a warning where passes are equal."""

from __future__ import annotations

import contextlib

from jaxtyping import Float
from torch import Tensor, nn

from hype_bench.contract.context import Context
from hype_bench.contract.randomness import Replay

_ENOUGH = 10  # comparisons; the first update may be special: LoRA begins at 0, a warm-up too


def dropout_masks(which: str, model: nn.Module, context: Context) -> Replay:
    """What to enter around a pass that is compared with the one that comes next.

    ``shared``: it draws the same dropout masks and the same noise of other techniques, so that the technique's own
    noise alone tells the passes apart. ``own``: it draws afresh, as any pass does.
    """
    return context.rng_snapshot(model) if which == "shared" else contextlib.nullcontext


class EqualPasses:
    """Warns once if passes that are compared are exactly equal in the first comparisons of a run."""

    def __init__(self, technique: str, context: Context) -> None:
        self.technique, self.context = technique, context
        self.seen: list[Tensor] = []
        context.cleanup.callback(self.conclude)  # of a run that is shorter

    def watch(self, divergence: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Takes what says how far passes are apart, and returns it."""
        if len(self.seen) < _ENOUGH:
            self.seen.append(divergence.detach())
            if len(self.seen) == _ENOUGH:
                self.conclude()
        return divergence

    def conclude(self) -> None:
        if self.seen and not any(map(bool, self.seen)):
            self.context.warn(
                f"{self.technique} does nothing here: its passes were equal in all of the first {len(self.seen)} "
                "comparisons; it needs dropout, or noise that the precision keeps"
            )
