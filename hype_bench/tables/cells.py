"""A row and a cell of a table: which runs belong together, and what their scores come to."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hype_bench.config import METRICS
from hype_bench.runs.record import HELDOUT
from hype_bench.runs.settings import Settings
from hype_bench.runs.status import DONE, NOT_SCORED
from hype_bench.tables.collapsed import collapsed

if TYPE_CHECKING:
    import pandas as pd

INFERENCE_FROM = 3  # seeds: of fewer, neither intervals nor tests are shown
AVERAGE = "average"  # over the tasks of a row
_CORRELATIONS = ("matthews", "pearson", "spearman", "pearson_spearman")
_FIRST = ("vanilla", "no_dropout")  # the controls stand above what is compared with them


@dataclass(frozen=True)
class Row:
    """``settings``: what tells this row from others of the table, such as ``scale=1e-4``."""

    method: str
    settings: Settings = ()

    @property
    def title(self) -> str:
        words = ", ".join(f"{key}={compact(value)}" for key, value in self.settings)
        return f"{self.method} ({words})" if words else self.method

    @property
    def rank(self) -> tuple[Any, ...]:
        """Controls first, then by name; numbers by size, so that 1e-5 stands before 0.0001."""
        control = _FIRST.index(self.method) if self.method in _FIRST else len(_FIRST)
        return control, self.method, tuple((key, *_by_size(value)) for key, value in self.settings)


@dataclass
class Cell:
    """All runs that differ in the seed alone. ``scores``: seed -> score, as a fraction; NaN stays NaN.

    ``unfinished``: state -> number of runs without a score; ``missing``: why no number may be shown yet, if none may;
    ``remarks``: for the notes below the table; ``collapsed``: seeds whose run always gives one class;
    ``tasks``: of an average, the cells that it is the mean of; ``constant``: a number that no run has scored.
    """

    metric: str
    scores: dict[int, float] = field(default_factory=dict)
    unfinished: dict[str, int] = field(default_factory=dict)
    missing: str = ""
    remarks: list[str] = field(default_factory=list)
    collapsed: list[int] = field(default_factory=list)
    tasks: list[Cell] = field(default_factory=list)
    constant: bool = False

    @property
    def is_fraction(self) -> bool:
        """Whether it is shown x 100; what an analysis measures by a metric of its own is shown as it is."""
        return all(cell.is_fraction for cell in self.tasks) if self.tasks else self.metric in (*METRICS, AVERAGE)

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def lowest(self) -> float:
        """The least score that the metric can give, or a difference of two."""
        if not self.is_fraction:
            return -math.inf
        return -1.0 if self.metric in _CORRELATIONS or min(self.scores.values(), default=0.0) < 0 else 0.0

    @property
    def highest(self) -> float:
        return 1.0 if self.is_fraction else math.inf

    @property
    def nans(self) -> int:
        return sum(not math.isfinite(value) for value in self.scores.values())

    @property
    def finite(self) -> int:
        return self.n - self.nans

    @property
    def rank(self) -> tuple[int, float]:
        """Orders the configurations of a search, the best one last: by how many seeds gave a finite score, and then by
        the mean of those. A diverged run and a NaN count alike, and no configuration wins by its surviving seeds."""
        scores = [score for score in self.scores.values() if math.isfinite(score)]
        return self.finite, math.fsum(scores) / len(scores) if scores else -math.inf

    @property
    def lacks(self) -> list[str]:
        """What stands between it and a whole number, in words: ``["2 of 3 runs", "1 nan", "1 failed"]``."""
        nans = [f"{self.nans} nan"] if self.nans else []
        return [*filter(None, [self.missing]), *nans, *(f"{n} {state}" for state, n in sorted(self.unfinished.items()))]

    @property
    def counts(self) -> list[str]:
        """Behind its mean: the number of scores, what stands between it and a whole number, and what it hides."""
        collapsed = [f"{len(self.collapsed)} collapsed"] if self.collapsed else []
        return [str(self.n), *self.lacks, *collapsed]

    @property
    def mean(self) -> float:
        """Mean over seeds; NaN if one of them is NaN, or if there is none."""
        return math.fsum(self.scores.values()) / self.n if self.n and not self.nans else math.nan

    @property
    def std(self) -> float:
        """Standard deviation over seeds with n - 1 in the denominator; NaN below two seeds."""
        return statistics.stdev(self.scores.values()) if self.n > 1 and not self.nans else math.nan


def compact(value: str) -> str:
    """Small numbers all alike, however they were written: ``0.0001``, ``1e-04`` -> ``1e-4``; other text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    if not 0 < abs(number) < 1e-3:
        return value
    mantissa, _, exponent = f"{number:.14e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def cells_of(
    runs: pd.DataFrame, by: Sequence[str], frame: pd.DataFrame, splits: Iterable[str] = ()
) -> dict[Any, dict[str, Cell]]:
    """Group of runs -> split -> cell; the first split has no name here.

    Args:
        runs: one row a run, as :func:`hype_bench.runs.frame.tidy` has them; its index is that of ``frame``.
        by: the columns in which the runs of a group agree.
        frame: the scores of all splits.
        splits: those wanted beside the first one.
    """
    cells: dict[Any, dict[str, Cell]] = defaultdict(dict)
    for split in ("", *splits):
        scored = _on_split(runs, frame, split)
        seeds, scores, states, metrics = (scored[name].tolist() for name in ("seed", "score", "status", "metric"))
        constant = collapsed(scored, split).tolist() if split != HELDOUT else [False] * len(seeds)
        for group, rows in scored.groupby(list(by), observed=True).indices.items():
            cells[group][split] = Cell(
                metrics[rows[0]],
                scores={seeds[row]: scores[row] for row in rows if states[row] == DONE},
                unfinished=dict(Counter(states[row] for row in rows if states[row] != DONE)),
                collapsed=[seeds[row] for row in rows if constant[row]],
            )
    return cells


def further_splits(frame: pd.DataFrame) -> list[str]:
    """The splits that some run was scored on beside the first one, in the order of the runs."""
    split, first = frame.split.astype(object), frame.split[frame.headline].astype(object).reindex(frame.index)
    return list(split[(split != first) & (split != HELDOUT)].dropna().unique())


def _on_split(runs: pd.DataFrame, frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """Runs with their score on another split of the frame in place of that on the first."""
    if not split:
        return runs
    metric = frame.metric[frame.headline].astype(object).reindex(frame.index)
    scores = frame.score[(frame.split == split) & (frame.metric.astype(object) == metric)]
    status = runs.status.astype(object).replace(NOT_SCORED, DONE)
    lacking = (status == DONE) & ~runs.index.isin(scores.index)
    return runs.assign(score=scores.reindex(runs.index), status=status.mask(lacking, NOT_SCORED))


def _by_size(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return math.inf, value
