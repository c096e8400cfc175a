"""A table's rows against one of its own methods, seed by seed and example by example."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.cells import Cell
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.paired import (
    Paired,
    bootstrap_examples,
    bootstrap_p,
    least_p,
    paired_difference,
    permutation_examples,
    permutation_p,
    probability_of_improvement,
    seed_differences,
)
from hype_bench.tables.sheet import Pieces, Sheet, difference
from hype_bench.tables.statistics import Floats, holm, stars

_PAIRED_NOTE = (
    "paired by seed: mean difference with Student's 95 % interval; P(improvement): of a run here over one there, all "
    "pairs of runs counted, ties half, and with how many seeds it is better; p (seeds): sign-flip permutation test, "
    "which cannot fall below {least:.2g} with {n} seeds; p (examples): these runs' predictions swapped example by "
    "example (1,000 draws), about other examples and not other seeds; both adjusted by Holm over all {tests} lines of "
    "this comparison; * below 0.05, ** 0.01, *** 0.001; bootstrap: paired and not adjusted; with few seeds its p over "
    "seeds is far too small"
)


def against_method(plan: Plan, found: Mapping[Place, Result], baseline: str) -> list[Sheet]:
    """Every other row against the row of one method, paired by seed and by example.

    Raises:
        UserError: no row of the table is of that method alone.
    """
    pairs = list(_pairs(found, baseline))
    if not pairs:
        rows = dict.fromkeys(row.title for _, row, _ in found)
        raise UserError(f"{plan.name} has no row {baseline!r} to compare with; there are {', '.join(rows)}")
    compared = [_compared(result, base) for _, result, base in pairs]
    over_seeds, over_examples = (holm([getattr(line, name) for line in compared]) for name in ("p_seeds", "p_examples"))
    columns = [
        ("difference", "95 % interval"),
        ("P(improvement)", "seeds won"),
        ("p (seeds)", "Holm"),
        ("p (examples)", "Holm"),
        ("bootstrap p", "seeds, examples"),
    ]
    n = max(line.paired.n for line in compared)
    note = _PAIRED_NOTE.format(least=least_p(n), n=n, tests=len(pairs))
    sheets: dict[str, Sheet] = {}
    for (place, _, _), line, p_seeds, p_examples in zip(pairs, compared, over_seeds, over_examples, strict=True):
        block, row, task = place
        sheet = sheets.setdefault(block, Sheet(block, columns, [], [note], kind=f"against {baseline}, model"))
        sheet.rows.append((f"{row.title}, {task}", line.pieces(float(p_seeds), float(p_examples))))
    return list(sheets.values())


@dataclass(frozen=True)
class _Compared:
    """One row against the baseline on one task; NaN where nothing can be said. ``bootstrap``: over seeds, examples."""

    paired: Paired
    improvement: float = math.nan
    won: float = 0
    p_seeds: float = math.nan
    p_examples: float = math.nan
    bootstrap: tuple[float, float] = (math.nan, math.nan)

    def pieces(self, p_seeds: float, p_examples: float) -> list[Pieces]:
        """The line's cells, with the p-values after the correction."""
        paired = self.paired
        if not paired.n:
            return [("X", "", " (no pairs yet)"), *[("", "", "")] * 4]
        improvement: Pieces = f"{self.improvement:.2f}", "", f" ({self.won:g} of {paired.n})"
        drawn: Pieces = ", ".join(_p(p)[0] for p in self.bootstrap), "", ""
        gap = difference(paired.mean, paired.low, paired.high)
        return [gap, improvement, _p(p_seeds), _p(p_examples), drawn]


def _pairs(found: Mapping[Place, Result], baseline: str) -> Iterator[tuple[Place, Result, Result]]:
    bases = {(block, task): result for (block, row, task), result in found.items() if row.title == baseline}
    for place, result in found.items():
        block, row, task = place
        if row.title != baseline and (block, task) in bases:
            yield place, result, bases[block, task]


def _compared(result: Result, base: Result) -> _Compared:
    a, b = ({} if r.chosen.cell.missing else _finite(r.chosen.cell) for r in (result, base))
    paired = paired_difference(a, b)
    if not paired.n:
        return _Compared(paired)
    differences, seeds = seed_differences(a, b), sorted(a.keys() & b.keys())
    p_examples, drawn = _over_examples(result, base, seeds)
    return _Compared(
        paired,
        improvement=probability_of_improvement([a[seed] for seed in seeds], [b[seed] for seed in seeds]),
        won=float((np.sign(differences) + 1).sum() / 2),
        p_seeds=permutation_p(differences),
        p_examples=p_examples,
        bootstrap=(bootstrap_p(differences), drawn),
    )


def _over_examples(result: Result, base: Result, seeds: list[int]) -> tuple[float, float]:
    """p by permutation and by bootstrap; NaN if the two were not scored on the same examples."""
    read = [[_predictions(side.shown()[seed].path, side.split) for seed in seeds] for side in (result, base)]
    labels = read[0][0][0]
    if any(not np.array_equal(labels, other) for side in read for other, _ in side):
        return math.nan, math.nan
    a, b = (np.stack([predictions for _, predictions in side]) for side in read)
    metric = result.chosen.cell.metric
    return permutation_examples(metric, labels, a, b), bootstrap_examples(metric, labels, a, b).p


def _predictions(run: Path, split: str) -> tuple[Floats, Floats]:
    """Labels and predictions of a split; without its name, of the first one in the file, which gives most cells."""
    import pandas as pd

    table = pd.read_csv(run / "predictions.csv", usecols=["split", "label", "prediction"])
    part = table[table["split"] == (split or table["split"].iloc[0])]
    return part["label"].to_numpy(np.float64), part["prediction"].to_numpy(np.float64)


def _p(p: float) -> Pieces:
    return ("-", "", "") if math.isnan(p) else (f"{p:.3f}", "", f" {stars(p)}" if stars(p) else "")


def _finite(cell: Cell) -> dict[int, float]:
    return {seed: score for seed, score in cell.scores.items() if math.isfinite(score)}
