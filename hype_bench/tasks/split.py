"""The texts and labels of one split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Split:
    """One split. ``texts``: one or two lists of the same length; ``labels``: int64 classes or float64 targets;
    ``rows``: their row numbers at the source, from 0."""

    name: str
    texts: tuple[list[str], ...]
    labels: NDArray[np.int64] | NDArray[np.float64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)
