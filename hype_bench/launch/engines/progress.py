"""Shows the jobs of a sweep as they end, from the notes in its folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hype_bench.launch.main import result_line
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import NOT_STARTED, read_notes

_POLL_SECONDS = 0.5


class JobWatcher:
    """Shows each job once, as soon as its note exists."""

    def __init__(self, sweep: Path, numbers: Iterable[int]) -> None:
        self.sweep, self.missing = sweep, set(numbers)
        self._polling = threading.Lock()

    def poll(self) -> None:
        with self._polling:
            for number, result in read_notes(self.sweep, self.missing).items():
                self.missing.remove(number)
                if result.state != NOT_STARTED:
                    display.end_run(result_line(result))

    def wait(self, seconds: float) -> None:
        """Waits for every note: a shared folder may show it later than the job ended."""
        until = time.monotonic() + seconds
        self.poll()
        while self.missing and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            self.poll()


@contextmanager
def watching_jobs(sweep: Path, numbers: Iterable[int]) -> Iterator[JobWatcher]:
    """Polls the sweep's folder from a thread while the block runs."""
    watcher, stopped = JobWatcher(sweep, numbers), threading.Event()

    def keep_polling() -> None:
        while not stopped.wait(_POLL_SECONDS):
            watcher.poll()

    thread = threading.Thread(target=keep_polling, daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        stopped.set()
        thread.join()
