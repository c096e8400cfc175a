"""How far a run is, for those who watch: a file of its folder, while it trains."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FILE = "progress"
_SECONDS = 1.0  # between two writes


@contextlib.contextmanager
def writing_progress(folder: Path) -> Iterator[Callable[[int, int], None]]:
    """A function that takes the update and their number. The file goes with the block, and is no concern of the run: it
    is left out where it cannot be written."""
    path, last = folder / FILE, -math.inf

    def write(update: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            with contextlib.suppress(OSError):
                path.write_text(f"{update} {total}\n", encoding="utf-8")

    try:
        yield write
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def read_progress(folder: Path) -> tuple[int, int] | None:
    """The update that a run has reached, and how many it will do; None if that is not known."""
    try:
        update, total = map(int, (folder / FILE).read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return None
    return (update, total) if 0 <= update <= total and total else None
