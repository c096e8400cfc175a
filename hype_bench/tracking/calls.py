"""Calls in a separate thread, for a library that may stop answering: the caller decides how long to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Calls:
    """Makes calls one after the other in a daemon thread, which never keeps the process alive."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._queue.get()()

    def submit(self, call: Callable[[], object]) -> None:
        """Queues a call, which must not raise, and returns at once."""
        self._queue.put(call)

    def wait(self, seconds: float) -> bool:
        """Waits until all calls have returned; False if they have not after ``seconds``."""
        finished = threading.Event()
        self._queue.put(finished.set)
        return finished.wait(seconds)
