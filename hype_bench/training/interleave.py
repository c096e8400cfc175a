"""Several runs in one process that take turns, an update each; every run computes what it computes alone.

A small encoder leaves most of a GPU idle, and an update of it is a few launches (``graphs.py``). Each run launches on a
stream of its own, so that the GPU works on all of them, while on the host one goes on at a time. What belongs to the
process and not to a run, such as torch's generators, is put back as the run left it when its turn comes.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method

# Reads something that belongs to the process, and puts it back:
State = tuple[Callable[[], Any], Callable[[Any], object]]


def interleave(programs: Sequence[Callable[[], object]], states: Sequence[State] = ()) -> None:
    """Runs programs to their ends, in threads of which one goes on at a time.

    Args:
        programs: those that train with :func:`turns_of_this_thread` pass the turn on after every update.
        states: of the process, beside torch's, that every program has for itself.

    Raises:
        Exception: of the first program that failed, once all have ended.
    """
    turns = _Turns(len(programs), [*_TORCH, *states])
    with ThreadPoolExecutor(len(programs)) as threads:
        ended = [threads.submit(turns.take_part, number, program) for number, program in enumerate(programs)]
    turns.put_back(turns.at_first)
    for program in ended:
        program.result()


def turns_of_this_thread() -> dict[str, Method]:
    """A technique without an effect, by name, that passes the turn on after every update; none if a run is alone."""
    return dict(getattr(_THREAD, "turns", {}))


_THREAD = threading.local()


@dataclass
class PassTheTurn(Method):
    """Ends the turn of its run after every update. ``runs`` take turns, as the run's record says."""

    acts_on = frozenset()
    capturable = True
    runs: int
    pass_on: Callable[[], None]

    def prepare(self, model: Any, context: Context) -> Hooks:
        context.facts["runs_at_once"] = self.runs
        return Hooks(after_step=lambda optimizer: self.pass_on())


class _Turns:
    def __init__(self, programs: int, states: Sequence[State]) -> None:
        self.states = states
        self.at_first = self._read()
        self.semaphores = [threading.Semaphore(0) for _ in range(programs)]
        self.waiting = deque(self.semaphores)  # whose turn comes next
        self._next()

    def take_part(self, number: int, program: Callable[[], object]) -> None:
        semaphore = self.semaphores[number]
        _THREAD.turns = {"turns": PassTheTurn(len(self.semaphores), lambda: self._pass_on(semaphore))}
        semaphore.acquire()
        try:
            self.put_back(self.at_first)
            with _stream_of_its_own():
                program()
        finally:
            self._next()

    def _pass_on(self, semaphore: threading.Semaphore) -> None:
        if not self.waiting:
            return
        values = self._read()
        self.waiting.append(semaphore)
        self._next()
        semaphore.acquire()
        self.put_back(values)

    def _next(self) -> None:
        if self.waiting:
            self.waiting.popleft().release()

    def _read(self) -> list[Any]:
        return [read() for read, _ in self.states]

    def put_back(self, values: Sequence[Any]) -> None:
        for (_, put_back), value in zip(self.states, values, strict=True):
            put_back(value)


@contextlib.contextmanager
def _stream_of_its_own() -> Iterator[None]:
    """For what this thread launches, and a generator whose state graphs of other runs do not share."""
    if not torch.cuda.is_available():
        yield
        return
    with torch.cuda.stream(torch.cuda.Stream()):
        _set_cuda_generator(torch.Generator("cuda"))
        yield


def _cuda_generator() -> torch.Generator | None:
    """What shares its state with the generator of the current device."""
    if not torch.cuda.is_initialized():
        return None
    return torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_get_state()


def _set_cuda_generator(generator: torch.Generator | None) -> None:
    if generator is not None:
        torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(generator)


def _set_fp32_precision(precision: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = precision


_TORCH: list[State] = [
    (torch.get_rng_state, torch.set_rng_state),
    (_cuda_generator, _set_cuda_generator),
    (lambda: torch.backends.cuda.matmul.fp32_precision, _set_fp32_precision),
]
