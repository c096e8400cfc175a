"""Calls in a thread of their own, for a library that may stop answering: nobody waits for it longer than he likes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Calls:
    """Makes calls one after the other. The thread dies with the process, whatever it waits for."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._queue.get()()

    def make(self, call: Callable[[], object]) -> None:
        """Queues a call, which must not raise, and returns at once."""
        self._queue.put(call)

    def wait(self, seconds: float) -> bool:
        """Waits until all calls have returned; whether they have."""
        over = threading.Event()
        self._queue.put(over.set)
        return over.wait(seconds)
