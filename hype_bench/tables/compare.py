"""A table's rows against one of its own methods, seed by seed and example by example."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hype_bench.options import UserError
from hype_bench.stats.bootstrap import bootstrap_examples, bootstrap_p
from hype_bench.stats.means import Floats
from hype_bench.stats.multiple import holm
from hype_bench.stats.paired import Paired, paired_difference, probability_of_improvement, seed_differences
from hype_bench.stats.permutation import permutation_examples, permutation_p
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.predictions import read_predictions

_BySeed = dict[int, tuple[Floats, Floats]]  # seed -> labels, predictions


@dataclass(frozen=True)
class Compared:
    """A cell against the baseline's on the same task; NaN where there is no such number.

    ``paired``: the difference by seed, of fractions; ``improvement``: the probability that a run here is better than
    one there; ``won``: with how many seeds it is, ties half; ``p_seeds``, ``p_examples``: adjusted by Holm over all
    cells; ``bootstrap``: p over seeds and over examples, not adjusted; ``notes``: which seeds are not paired and why;
    ``complaints``: damaged files.
    """

    paired: Paired
    notes: list[str]
    complaints: list[str]
    improvement: float = math.nan
    won: float = 0
    p_seeds: float = math.nan
    p_examples: float = math.nan
    bootstrap: tuple[float, float] = (math.nan, math.nan)


def against_method(plan: Plan, results: Mapping[Place, Result], baseline: str) -> dict[Place, Compared]:
    """Every other row against the row of one method, paired by seed and by example.

    Raises:
        UserError: no row of the table has that title.
    """
    pairs = list(_pairs(results, baseline))
    if not pairs:
        rows = list(dict.fromkeys(row.title for _, row, _ in results))
        raise UserError(f"{plan.name} has no row {baseline!r} to compare with; there are {', '.join(rows)}")
    compared = [_compared(result, base) for _, result, base in pairs]
    p_seeds, p_examples = holm([cell.p_seeds for cell in compared]), holm([cell.p_examples for cell in compared])
    return {
        place: replace(cell, p_seeds=float(seeds), p_examples=float(examples))
        for (place, _, _), cell, seeds, examples in zip(pairs, compared, p_seeds, p_examples, strict=True)
    }


def _pairs(results: Mapping[Place, Result], baseline: str) -> Iterator[tuple[Place, Result, Result]]:
    bases = {(block, task): result for (block, row, task), result in results.items() if row.title == baseline}
    for place, result in results.items():
        block, row, task = place
        if row.title != baseline and (block, task) in bases:
            yield place, result, bases[block, task]


def _compared(result: Result, base: Result) -> Compared:
    seeds, notes = _comparable(result.shown, base.shown)
    predictions, complaints = _predictions((result, base), seeds)
    seeds = [seed for seed in seeds if all(seed in by_seed for by_seed in predictions)]
    a, b = ({seed: side.cell.scores[seed] for seed in seeds} for side in (result, base))
    paired = paired_difference(a, b)
    if not seeds:
        return Compared(paired, notes, complaints)
    differences = seed_differences(a, b)
    of_runs = ([by_seed[seed] for seed in seeds] for by_seed in predictions)
    p_examples, p_bootstrap = _over_examples(result.cell.metric, *of_runs)
    if math.isnan(p_examples):
        notes.append("no p (examples): the runs were not scored on the same examples, or a draw has no score")
    return Compared(
        paired,
        notes,
        complaints,
        improvement=probability_of_improvement(list(a.values()), list(b.values())),
        won=float((np.sign(differences) + 1).sum() / 2),
        p_seeds=permutation_p(differences),
        p_examples=p_examples,
        bootstrap=(bootstrap_p(differences), p_bootstrap),
    )


def _comparable(runs: pd.DataFrame, base: pd.DataFrame) -> tuple[list[int], list[str]]:
    """The seeds that make a pair, and why others make none."""
    sides = [side[["score"]].assign(device=side.device.astype(object).fillna("unknown")) for side in (runs, base)]
    pairs = sides[0].merge(sides[1], how="outer", on="seed", suffixes=("", "_base"))
    kinds = pairs.device + " and " + pairs.device_base + " draw different dropout and noise"
    reasons = kinds.where(pairs.device != pairs.device_base, "")
    scored = pairs[["score", "score_base"]].map(math.isfinite).all(axis=1)
    reasons = reasons.where(scored, "one of its runs has no score")
    notes = [f"seed {seed} is not paired: {reason}" for seed, reason in reasons[reasons != ""].items()]
    return pairs.index[reasons == ""].tolist(), notes


def _predictions(results: tuple[Result, Result], seeds: list[int]) -> tuple[list[_BySeed], list[str]]:
    """Labels and predictions of both sides by seed, without runs whose file is at fault; what is wrong with those."""
    predictions: list[_BySeed] = [{}, {}]
    complaints = []
    for result, by_seed in zip(results, predictions, strict=True):
        runs = result.shown.loc[seeds]
        for seed, path, score in zip(seeds, runs.path, runs.score, strict=True):
            try:
                by_seed[seed] = read_predictions(Path(path), result.split, result.cell.metric, score)
            except UserError as error:
                complaints.append(str(error))
    return predictions, complaints


def _over_examples(
    metric: str, runs: list[tuple[Floats, Floats]], base: list[tuple[Floats, Floats]]
) -> tuple[float, float]:
    """p by permutation and by bootstrap; NaN if the two were not scored on the same examples."""
    labels = runs[0][0]
    if any(not np.array_equal(labels, other) for other, _ in (*runs, *base)):
        return math.nan, math.nan
    a, b = (np.stack([predictions for _, predictions in side]) for side in (runs, base))
    return permutation_examples(metric, labels, a, b), bootstrap_examples(metric, labels, a, b).p
