"""What techniques have to know of the current forward pass, also where gradient checkpointing computes it again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hype_bench.contract.randomness import Randomness

T = TypeVar("T")
ContextManager = contextlib.AbstractContextManager[None]


class Flag(Generic[T]):
    """A value that holds for the passes within a ``with flag.set(value):``; made by :meth:`ForwardPass.flag`."""

    def __init__(self, default: T) -> None:
        self.value = default

    @contextlib.contextmanager
    def set(self, value: T) -> Iterator[None]:
        before, self.value = self.value, value
        try:
            yield
        finally:
            self.value = before


@dataclass
class ForwardPass(Randomness):
    """The current forward pass.

    Attributes:
        flags: every flag handed out.
        hidden_noise: whether techniques may add noise to hidden states; False for a pass that another wants clean.
        recomputing: whether gradient checkpointing is computing a part of an earlier pass once more.
    """

    flags: list[Flag[Any]] = field(default_factory=list)
    hidden_noise: Flag[bool] = field(init=False)
    recomputing: bool = False

    def __post_init__(self) -> None:
        self.hidden_noise = self.flag(True)

    def flag(self, default: T) -> Flag[T]:
        """A new flag. A pass that gradient checkpointing computes again meets the value of its own forward pass."""
        flag = Flag(default)
        self.flags.append(flag)
        return flag

    def checkpointed(self) -> tuple[ContextManager, ContextManager]:
        """``context_fn`` of ``torch.utils.checkpoint``: what is computed again in the backward pass meets the flags
        and the noise of its own forward pass, also when the objective has made another pass meanwhile."""
        then = self._state()

        @contextlib.contextmanager
        def recomputed() -> Iterator[None]:
            now = self._state()
            self._restore(*then)
            self.recomputing = True
            try:
                yield
            finally:
                self._restore(*now)
                self.recomputing = False

        return contextlib.nullcontext(), recomputed()

    def _state(self) -> tuple[list[Any], list[int]]:
        return [flag.value for flag in self.flags], self.forwards()

    def _restore(self, values: list[Any], forwards: list[int]) -> None:
        for flag, value in zip(self.flags, values, strict=True):
            flag.value = value
        self.set_forwards(forwards)
