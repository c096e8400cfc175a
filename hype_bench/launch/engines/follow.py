"""The jobs of a sweep as they end, read from the sweep's folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hype_bench.launch.main import line_of
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import NOT_BEGUN, read

_POLL_SECONDS = 0.5


class Follower:
    """Shows each of some jobs once, as soon as its note is there."""

    def __init__(self, sweep: Path, numbers: Iterable[int]) -> None:
        self.sweep, self.missing = sweep, set(numbers)
        self._looking = threading.Lock()

    def look(self) -> None:
        with self._looking:
            for number, ended in read(self.sweep, self.missing).items():
                self.missing.remove(number)
                if ended.state != NOT_BEGUN:
                    display.end_run(line_of(ended))

    def wait(self, seconds: float) -> None:
        """Until every note is there: a shared folder may show it later than the job ended."""
        until = time.monotonic() + seconds
        self.look()
        while self.missing and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            self.look()


@contextmanager
def following(sweep: Path, numbers: Iterable[int]) -> Iterator[Follower]:
    """Looks into the sweep's folder from a thread as long as the block runs."""
    follower, over = Follower(sweep, numbers), threading.Event()

    def look_again() -> None:
        while not over.wait(_POLL_SECONDS):
            follower.look()

    thread = threading.Thread(target=look_again, daemon=True)
    thread.start()
    try:
        yield follower
    finally:
        over.set()
        thread.join()
