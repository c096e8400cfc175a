"""What a table is compared with: the paper's cells, or one of its own methods seed by seed and example by example."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.paper.published import Published
from hype_bench.paper.published import table as published_table
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.cells import Cell, Row
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
from hype_bench.tables.sheet import Pieces, Sheet
from hype_bench.tables.statistics import (
    Floats,
    difference_of_means,
    holm,
    stars,
)

PAPER = "paper"
AGREES, DIFFERS, UNKNOWN = "agrees", "differs", "-"

_TASKS = {"mnli/mismatched": "mnli_mm"}  # a column here, a task of its own there
_PAPER_NOTE = (
    "difference: this run minus the paper, with Welch's 95 % interval from mean, std and n of both; it agrees if that "
    "interval contains 0; without a printed std nothing can be said"
)
_PAIRED_NOTE = (
    "paired by seed: mean difference with Student's 95 % interval; P(improvement): of a run here over one there, all "
    "pairs of runs counted, ties half, and with how many seeds it is better; p (seeds): sign-flip permutation test, "
    "which cannot fall below {least:.2g} with {n} seeds; p (examples): these runs' predictions swapped example by "
    "example (1,000 draws), about other examples and not other seeds; both adjusted by Holm over all {tests} lines of "
    "this comparison; * below 0.05, ** 0.01, *** 0.001; bootstrap: paired and not adjusted; with few seeds its p over "
    "seeds is far too small"
)


def against_paper(plan: Plan, found: Mapping[Place, Result], subsets: set[str]) -> list[Sheet]:
    """Every cell that the paper printed too, block by block.

    Args:
        subsets: tasks of which only a part of the data was there; their lines say so.

    Raises:
        UserError: the experiment regenerates no table of the paper.
    """
    if plan.table is None:
        raise UserError(f"experiment {plan.name} regenerates no table of the paper: nothing to compare with")
    printed = published_table(plan.table)
    columns = [("here", "mean ± std (n)"), ("paper", "mean ± std (n)"), ("difference", "95 % interval"), ("", "")]
    sheets = []
    for block in dict.fromkeys(block for block, _, _ in found):
        lines = []
        for (where, row, task), result in found.items():
            cell = counterpart(printed, replace(result.runs[0], task=task), row) if where == block else None
            if cell is not None:
                marks = [" (subset)"] * (task in subsets) + [" (quoted there)"] * cell.quoted
                title = "".join([f"{row.title}, {task}", *marks])
                lines.append((title, _beside(result.chosen.cell, cell)))
        notes = [_PAPER_NOTE] if lines else [f"Table {plan.table} of the paper has no cell for {block}"]
        sheets.append(Sheet(block, columns, lines, notes, kind=f"against Table {plan.table} of the paper, model"))
    return sheets


def counterpart(printed: list[Published], run: PlannedRun, row: Row) -> Published | None:
    """The printed cell of the same model, task and method, or of the row's own name, whose settings do not contradict
    the row's; of several the one that says most of what the row says. None if the paper has no such cell."""
    mine, task = dict(row.settings), _TASKS.get(run.task, run.task)
    fitting = [
        (sum(key in mine for key in cell.setting), cell)
        for cell in printed
        if (cell.model, cell.task) == (run.model, task)
        and "split" not in cell.setting  # a score on the test server is not one on the dev set
        and (cell.row == run.row if run.row else cell.method == run.method)
        and all(_same(mine[key], value) for key, value in cell.setting.items() if key in mine)
    ]
    most = max((said for said, _ in fitting), default=0)
    best = [cell for said, cell in fitting if said == most]
    return best[0] if len(best) == 1 else None


def against_method(
    plan: Plan, statuses: Mapping[str, RunStatus], found: Mapping[Place, Result], baseline: str
) -> list[Sheet]:
    """Every other row against the row of one method, paired by seed and by example.

    Raises:
        UserError: no row of the table is of that method alone.
    """
    pairs = list(_pairs(found, baseline))
    if not pairs:
        rows = dict.fromkeys(row.title for _, row, _ in found)
        raise UserError(f"{plan.name} has no row {baseline!r} to compare with; there are {', '.join(rows)}")
    compared = [_compared(result, base, statuses) for _, result, base in pairs]
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
        difference = _difference(paired.mean, paired.low, paired.high)
        return [difference, improvement, _p(p_seeds), _p(p_examples), drawn]


def _pairs(found: Mapping[Place, Result], baseline: str) -> Iterator[tuple[Place, Result, Result]]:
    bases = {(block, task): result for (block, row, task), result in found.items() if row.title == baseline}
    for place, result in found.items():
        block, row, task = place
        if row.title != baseline and (block, task) in bases:
            yield place, result, bases[block, task]


def _compared(result: Result, base: Result, statuses: Mapping[str, RunStatus]) -> _Compared:
    a, b = ({} if r.chosen.cell.missing else _finite(r.chosen.cell) for r in (result, base))
    paired = paired_difference(a, b)
    if not paired.n:
        return _Compared(paired)
    differences, seeds = seed_differences(a, b), sorted(a.keys() & b.keys())
    p_examples, drawn = _over_examples(result, base, seeds, statuses)
    return _Compared(
        paired,
        improvement=probability_of_improvement([a[seed] for seed in seeds], [b[seed] for seed in seeds]),
        won=float((np.sign(differences) + 1).sum() / 2),
        p_seeds=permutation_p(differences),
        p_examples=p_examples,
        bootstrap=(bootstrap_p(differences), drawn),
    )


def _over_examples(
    result: Result, base: Result, seeds: list[int], statuses: Mapping[str, RunStatus]
) -> tuple[float, float]:
    """p by permutation and by bootstrap; NaN if the two were not scored on the same examples."""
    read = [
        [_predictions(statuses[side.reported()[seed].identity].path, side.split) for seed in seeds]
        for side in (result, base)
    ]
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


def _beside(cell: Cell, printed: Published) -> list[Pieces]:
    theirs = _score(printed.mean, printed.std, printed.n)
    if cell.missing or not cell.n or math.isnan(cell.mean):
        return [("X", "", f" ({cell.missing or 'no score'})"), theirs, ("", "", ""), (UNKNOWN, "", "")]
    ours = _score(100 * cell.mean, 100 * cell.std, cell.n)
    if printed.std is None or printed.n is None or cell.n < 2:
        return [ours, theirs, _difference(cell.mean - printed.mean / 100, math.nan, math.nan), (UNKNOWN, "", "")]
    gap = difference_of_means(cell.mean, cell.std, cell.n, printed.mean / 100, printed.std / 100, printed.n)
    verdict = AGREES if gap.low <= 0 <= gap.high else DIFFERS
    return [ours, theirs, _difference(gap.mean, gap.low, gap.high), (verdict, "", "")]


def _score(mean: float, std: float | None, n: int | None) -> Pieces:
    spread = "" if std is None or math.isnan(std) else f" ± {std:.2f}"
    return f"{mean:.2f}", spread, "" if n is None else f" ({n})"


def _difference(mean: float, low: float, high: float) -> Pieces:
    interval = "" if math.isnan(low) else f" [{100 * low:+.2f}, {100 * high:+.2f}]"
    return f"{100 * mean:+.2f}", "", interval


def _p(p: float) -> Pieces:
    return ("-", "", "") if math.isnan(p) else (f"{p:.3f}", "", f" {stars(p)}" if stars(p) else "")


def _finite(cell: Cell) -> dict[int, float]:
    return {seed: score for seed, score in cell.scores.items() if math.isfinite(score)}


def _same(mine: str, printed: object) -> bool:
    try:
        return math.isclose(float(mine), float(printed))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return mine == str(printed)
