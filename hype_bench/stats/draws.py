"""What every test by random draws has in common. Draws come from ``numpy.random.default_rng(seed)``: the same seed
gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

DRAWS = 10_000  # over seeds, where a draw costs next to nothing
ROUNDING = 1e-9  # relative: what differs by less is a tie that float64 has split
_CELLS = 2**20  # draws x examples at a time: 8 MiB


def with_observed(hits: int, draws: int) -> float:
    """The p-value of ``hits`` among random draws, the observed data being one more (Phipson and Smyth 2010)."""
    return (1 + hits) / (1 + draws)


def batches(draws: int, examples: int) -> Iterator[int]:
    """How many draws to take at a time, so that no array outgrows ``_CELLS``."""
    rows = max(1, _CELLS // examples)
    return (min(rows, draws - start) for start in range(0, draws, rows))
