"""A table of words: what every format is written from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Pieces = tuple[str, str, str]  # a cell: mean, spread, count; aligned one by one
EMPTY: Pieces = ("", "", "")


@dataclass(frozen=True)
class Sheet:
    """``columns``: name and unit of each; ``rows``: a title and a cell per column; ``notes``: lines below;
    ``best``: number of row and column of the cells with the highest mean of their column."""

    title: str
    columns: list[tuple[str, str]]
    rows: list[tuple[str, list[Pieces]]]
    notes: list[str] = field(default_factory=list)
    kind: str = "model"
    corner: str = "method"
    best: frozenset[tuple[int, int]] = frozenset()

    @property
    def heading(self) -> str:
        """The title where a heading may be long; that it is a model's is plain there."""
        return self.title if self.kind in ("", "model") else f"{self.kind}: {self.title}"

    @property
    def headers(self) -> list[str]:
        return [f"{name} ({unit})" if unit else name for name, unit in self.columns]

    def aligned(self) -> list[list[str]]:
        """Lines of title and cells, the pieces of a column's cells under one another."""
        columns = [[title for title, _ in self.rows]]
        for number in range(len(self.columns)):
            pieces = [cells[number] for _, cells in self.rows]
            mean, spread = (max((len(piece[part]) for piece in pieces), default=0) for part in (0, 1))
            columns.append([f"{m.rjust(mean)}{_widen(s, spread)}{n}".rstrip() for m, s, n in pieces])
        return [list(line) for line in zip(*columns, strict=True)]

    def plain(self) -> list[list[str]]:
        return [[title, *("".join(pieces) for pieces in cells)] for title, cells in self.rows]


def number(value: float, is_fraction: bool = True) -> str:
    """``65.34`` of a fraction, four digits of anything else."""
    return f"{100 * value:.2f}" if is_fraction else f"{value:.4g}"


def mean_and_std(mean: float, std: float, count: str, is_fraction: bool = True) -> Pieces:
    """``65.34 ± 1.20 (3)``; without a std that is NaN or a count that is empty."""
    spread = "" if math.isnan(std) else f" ± {number(std, is_fraction)}"
    return number(mean, is_fraction), spread, f" ({count})" if count else ""


def difference(mean: float, low: float, high: float, is_fraction: bool = True) -> Pieces:
    """``+1.20 [-0.31, +2.71]``; without what is NaN."""
    if math.isnan(mean):
        return EMPTY
    return signed(mean, is_fraction), "", "" if math.isnan(low) else f" {signed_interval(low, high, is_fraction)}"


def signed_interval(low: float, high: float, is_fraction: bool = True) -> str:
    return f"[{signed(low, is_fraction)}, {signed(high, is_fraction)}]"


def signed(value: float, is_fraction: bool = True) -> str:
    return f"{100 * value:+z.2f}" if is_fraction else f"{value:+z.4g}"


def p_value(p: float) -> str:
    """Three digits, and never 0; ``-`` for NaN."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _widen(spread: str, width: int) -> str:
    """Pads behind the ±: `` ± 1.20`` -> `` ±  1.20``."""
    return f" ± {spread[3:].rjust(width - 3)}" if spread.startswith(" ± ") else spread.ljust(width)
