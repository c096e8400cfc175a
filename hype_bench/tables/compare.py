"""A table's rows against one of its own methods, seed by seed and example by example."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hype_bench.options import UserError
from hype_bench.runs.status import RunStatus
from hype_bench.stats.bootstrap import bootstrap_examples, bootstrap_p
from hype_bench.stats.means import Floats
from hype_bench.stats.multiple import holm, stars
from hype_bench.stats.paired import Paired, paired_difference, probability_of_improvement, seed_differences
from hype_bench.stats.permutation import least_p, permutation_examples, permutation_p
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.cells import Cell
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.predictions import read_predictions
from hype_bench.tables.same_seed import kind_of_device
from hype_bench.tables.sheet import Pieces, Sheet, difference

_ByRun = dict[int, tuple[Floats, Floats]]  # seed -> labels, predictions

_PAIRED_NOTE = (
    "paired by seed: mean difference with Student's 95 % interval; P(improvement): of a run here over one there, all "
    "pairs of runs counted, ties half, and with how many seeds it is better; p (seeds): sign-flip permutation test, "
    "which cannot fall below {least}; p (examples): these runs' predictions swapped example by "
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
    sizes = sorted({line.paired.n for line in compared if line.paired.n})
    least = ", ".join(f"{least_p(n):.2g} with {n} seed{'s' * (n > 1)}" for n in sizes) or "1 without a pair"
    note = _PAIRED_NOTE.format(least=least, tests=len(pairs))
    sheets: dict[str, Sheet] = {}
    for (place, _, _), line, p_seeds, p_examples in zip(pairs, compared, over_seeds, over_examples, strict=True):
        block, row, task = place
        sheet = sheets.setdefault(block, Sheet(block, columns, [], [note], kind=f"against {baseline}, model"))
        title = f"{row.title}, {task}"
        sheet.rows.append((title, line.pieces(float(p_seeds), float(p_examples))))
        sheet.notes.extend(f"{title}: {text}" for text in line.notes)
        sheet.complaints.extend(text for text in line.complaints if text not in sheet.complaints)
    return list(sheets.values())


@dataclass(frozen=True)
class _Compared:
    """One row against the baseline on one task; NaN where nothing can be said.

    ``bootstrap``: over seeds, examples; ``notes``: which seeds are no pair and why; ``complaints``: files that are at
    fault.
    """

    paired: Paired
    notes: list[str]
    complaints: list[str]
    improvement: float = math.nan
    won: float = 0
    p_seeds: float = math.nan
    p_examples: float = math.nan
    bootstrap: tuple[float, float] = (math.nan, math.nan)

    def pieces(self, p_seeds: float, p_examples: float) -> list[Pieces]:
        """The line's cells, with the p-values after the correction."""
        paired = self.paired
        if not paired.n:
            return [("X", "", " (no pairs)"), *[("", "", "")] * 4]
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
    sides = [{} if side.chosen.cell.missing else side.shown() for side in (result, base)]
    seeds, notes = _comparable(result, base, sides)
    read, complaints = _predictions((result, base), seeds)
    seeds = sorted(read[0].keys() & read[1].keys())
    a, b = ({seed: side.chosen.cell.scores[seed] for seed in seeds} for side in (result, base))
    paired = paired_difference(a, b)
    if not seeds:
        return _Compared(paired, notes, complaints)
    differences = seed_differences(a, b)
    p_examples, drawn = _over_examples(result.chosen.cell.metric, *([one[seed] for seed in seeds] for one in read))
    if math.isnan(p_examples):
        notes.append("no p (examples): the runs were not scored on the same examples, or a draw has no score")
    return _Compared(
        paired,
        notes,
        complaints,
        improvement=probability_of_improvement(list(a.values()), list(b.values())),
        won=float((np.sign(differences) + 1).sum() / 2),
        p_seeds=permutation_p(differences),
        p_examples=p_examples,
        bootstrap=(bootstrap_p(differences), drawn),
    )


def _comparable(result: Result, base: Result, sides: list[dict[int, RunStatus]]) -> tuple[list[int], list[str]]:
    """The seeds that make a pair, and which others make none."""
    scores = [_finite(side.chosen.cell) for side in (result, base)]
    seeds, notes = [], []
    for seed in sorted(sides[0].keys() | sides[1].keys()):
        kinds = [kind_of_device(side[seed].record or {}) for side in sides if seed in side]
        if len(kinds) < 2 or any(seed not in finite for finite in scores):
            notes.append(f"seed {seed} is no pair: one of its runs has no score")
        elif kinds[0] != kinds[1]:
            notes.append(f"seed {seed} is no pair: {kinds[0]} and {kinds[1]} draw other dropout and noise")
        else:
            seeds.append(seed)
    return seeds, notes


def _predictions(results: tuple[Result, Result], seeds: list[int]) -> tuple[list[_ByRun], list[str]]:
    """Labels and predictions of both sides by seed, without runs whose file is at fault; what is wrong with those."""
    read: list[_ByRun] = [{}, {}]
    complaints = []
    for result, found in zip(results, read, strict=True):
        runs, cell = result.shown(), result.chosen.cell
        for seed in seeds:
            try:
                found[seed] = read_predictions(runs[seed].path, result.split, cell.metric, cell.scores[seed])
            except UserError as error:
                complaints.append(str(error))
    return read, complaints


def _over_examples(
    metric: str, ours: list[tuple[Floats, Floats]], theirs: list[tuple[Floats, Floats]]
) -> tuple[float, float]:
    """p by permutation and by bootstrap; NaN if the two were not scored on the same examples."""
    labels = ours[0][0]
    if any(not np.array_equal(labels, other) for other, _ in (*ours, *theirs)):
        return math.nan, math.nan
    a, b = (np.stack([predictions for _, predictions in side]) for side in (ours, theirs))
    return permutation_examples(metric, labels, a, b), bootstrap_examples(metric, labels, a, b).p


def _p(p: float) -> Pieces:
    return ("-", "", "") if math.isnan(p) else (f"{p:.3f}", "", f" {stars(p)}" if stars(p) else "")


def _finite(cell: Cell) -> dict[int, float]:
    return {seed: score for seed, score in cell.scores.items() if math.isfinite(score)}
