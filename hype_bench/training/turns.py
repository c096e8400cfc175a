"""Programs that take turns on one machine, an update each, round after round.

A machine's clock and its neighbours change within seconds. Programs that are timed one behind the other are compared
with that; here every round times each of them within a second or two.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any

import torch

from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method

WARM_UP = 2  # rounds that are not counted
PAUSE = 0.02  # seconds, after which the threads of the program before no longer wait busily for more


@dataclass(frozen=True)
class Seconds:
    """Of one turn: by the clock, and of all threads of its process on a CPU."""

    wall: float
    cpu: float


@dataclass
class Turn(Method):
    """A program's own side; as a technique without an effect it ends the turn after every update of our loop."""

    acts_on = frozenset()
    capturable = True
    line: Connection
    started: Seconds = field(default=Seconds(0.0, 0.0), init=False)

    def end(self) -> None:
        """Says how long the turn took and waits for the next. The first one, which nobody gave, says: ready."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.line.send(Seconds(time.perf_counter() - self.started.wall, time.process_time() - self.started.cpu))
        self.line.recv()
        self.started = Seconds(time.perf_counter(), time.process_time())

    def prepare(self, model: Any, context: Context) -> Hooks:
        return Hooks(after_step=lambda optimizer: self.end())


def rounds(programs: Mapping[str, Callable[[Turn], None]], count: int) -> list[dict[str, Seconds]]:
    """What every program's turn took, for each of ``count`` rounds.

    Args:
        programs: each runs in a process of its own, with all that it needs to start inside, and calls ``end`` of the
            turn at least ``count + WARM_UP + 1`` times. It ends with an EOFError when nobody waits for it any more.
    """
    lines: dict[str, Connection] = {}
    for name, program in programs.items():
        lines[name], end_of_program = multiprocessing.Pipe()
        with spawning() as context:
            context.Process(target=_take_turns, args=(program, end_of_program), name=name, daemon=True).start()
        end_of_program.close()
    try:
        for line in lines.values():
            line.recv()
        return [{name: _give_turn(line) for name, line in lines.items()} for _ in range(WARM_UP + count)][WARM_UP:]
    finally:
        for line in lines.values():
            line.close()
        for process in multiprocessing.active_children():
            process.join()


@contextlib.contextmanager
def spawning() -> Iterator[SpawnContext]:
    """Starts processes anew, also from a worker of joblib, whose own way to start them its children do not know."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield multiprocessing.get_context("spawn")
    finally:
        multiprocessing.set_start_method(before, force=True)


def _give_turn(line: Connection) -> Seconds:
    time.sleep(PAUSE)
    line.send(None)
    seconds: Seconds = line.recv()
    return seconds


def _take_turns(program: Callable[[Turn], None], line: Connection) -> None:
    with contextlib.suppress(EOFError, BrokenPipeError):
        program(Turn(line))
