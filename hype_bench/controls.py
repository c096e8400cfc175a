"""What a technique is compared with to see whether it helps, and what its gain is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Control:
    """``method``: its technique; ``epochs``: how many times as many as the technique that is compared with it."""

    method: str
    epochs: int = 1

    @property
    def title(self) -> str:
        return self.method if self.epochs == 1 else f"{self.method} with {self.epochs} times the epochs"


VANILLA = Control("vanilla")
