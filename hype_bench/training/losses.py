"""The curve of the training loss: means over a few updates, which the host of a GPU reads without waiting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_EVERY = 10  # updates between two points of the curve
Row = dict[str, float]  # one point: update, loss, learning_rate, or update and scores


class DivergedError(RuntimeError):
    """The training loss, or what the last weights make of the dev set, is not finite."""


@dataclass(frozen=True)
class Point:
    """``row``: of the curve; ``norm``: of the gradients of its last update."""

    row: Row
    norm: float


class Losses:
    """Sums the losses of updates to points of the curve.

    Reading a number from a GPU waits for all that was launched before. So the numbers of a point are copied while the
    next updates run, and read when the next point is due.
    """

    def __init__(self, device: torch.device, total: int) -> None:
        """``total``: updates of the run."""
        self.total, self.is_late = total, device.type == "cuda"
        self.sum, self.count = torch.zeros((), device=device), 0
        self.unread: list[_Unread] = []

    def add(self, loss: Tensor) -> None:
        self.sum += loss
        self.count += 1

    def points(self, update: int, learning_rate: float, norm: float | Tensor, wait: bool) -> list[Point]:
        """Ends a point if one is due, and returns those that can be read now.

        Args:
            norm: of the gradients of this update.
            wait: whether to wait for all, as after the last update.

        Raises:
            DivergedError: a loss is not finite.
        """
        if self.count and (update % LOG_EVERY == 0 or update == self.total):
            numbers = [_to_host(number) for number in (self.sum, norm)]
            self.unread.append(_Unread(update, learning_rate, self.count, numbers, self._now()))
            self.sum.zero_()
            self.count = 0
        late = 1 if self.is_late and not wait and update < self.total else 0
        ready = [self.unread.pop(0) for _ in range(len(self.unread) - late)]
        return [unread.point() for unread in ready]

    def _now(self) -> torch.cuda.Event | None:
        """Happens when the GPU has done what was launched before."""
        if not self.is_late:
            return None
        event = torch.cuda.Event()
        event.record()
        return event


def _to_host(number: float | Tensor) -> float | Tensor:
    """On a GPU a copy that nobody waits for, into pinned memory."""
    if isinstance(number, Tensor) and number.device.type == "cuda":
        return number.to("cpu", non_blocking=True)
    return float(number)


@dataclass(frozen=True)
class _Unread:
    """A point whose numbers, the sum of the losses and the norm, are on the host once ``copied`` has happened."""

    update: int
    learning_rate: float
    count: int
    numbers: list[float | Tensor]
    copied: torch.cuda.Event | None

    def point(self) -> Point:
        if self.copied is not None:
            self.copied.synchronize()
        total, norm = map(float, self.numbers)
        if not math.isfinite(total):
            raise DivergedError(
                f"the training loss was no longer finite within the {LOG_EVERY} updates up to {self.update}"
            )
        return Point({"update": self.update, "loss": total / self.count, "learning_rate": self.learning_rate}, norm)
