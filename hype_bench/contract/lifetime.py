"""How long what a technique puts on a model stays there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from torch.utils.hooks import RemovableHandle


@dataclass
class Lifetime:
    """The part of a run in which techniques act.

    Attributes:
        cleanup: what undoes the techniques; run in reverse order when the run ends.
    """

    cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def until_finish(self, handle: RemovableHandle) -> None:
        """Removes a hook when the run ends."""
        self.cleanup.callback(handle.remove)
