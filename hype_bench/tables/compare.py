"""The rows of an experiment against one of its own, over seeds and examples."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from hype_bench.options import UserError
from hype_bench.output import counted
from hype_bench.stats.bootstrap import BOOTSTRAP_FROM, bootstrap_p, multi_bootstrap
from hype_bench.stats.crossed import Crossed, crossed_difference, difference_over_seeds
from hype_bench.stats.draws import DRAWS
from hype_bench.stats.influence import example_values
from hype_bench.stats.means import Floats, Vector
from hype_bench.stats.multiple import CORRECTIONS
from hype_bench.stats.paired import Paired, paired_difference, probability_of_improvement, seed_differences
from hype_bench.stats.permutation import SIGN_FLIP_FROM, permutation_p
from hype_bench.stats.sequential import Decision, decide
from hype_bench.stats.verdict import HELPS, LEVEL, MARGIN, UNDECIDED, Verdict, verdicts, without_margin
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.cells import INFERENCE_FROM
from hype_bench.tables.experiment import Place, Result
from hype_bench.tables.notes import has_one_subset
from hype_bench.tables.pairing import comparable
from hype_bench.tables.predictions import predicted_splits, read_predictions
from hype_bench.tables.same_predictions import alike_by_seed

TASK, TABLE = FAMILIES = ("task", "table")
Pair = tuple[Place, Result, Result]  # of a place, and what it is held against
_Read = Callable[[Path, str, str, float], tuple[Floats, Floats]]
_BySeed = dict[int, tuple[Floats, Floats]]  # seed -> labels, predictions


@dataclass(frozen=True)
class Criteria:
    """How comparisons are judged. ``margin``: a difference below it does not matter, as a fraction; ``family``: which
    comparisons share their errors, those on one task or all of the table; ``correction``: a key of ``CORRECTIONS``;
    ``order``: whether almost stochastic order is looked at too; ``resampled``: whether the tests by random draws
    are, which take longer than all else and decide nothing.

    Raises:
        UserError: a negative margin.
    """

    margin: float = MARGIN
    family: str = TASK
    correction: str = "holm"
    order: bool = False
    resampled: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise UserError(f"--margin={100 * self.margin:g}: a margin is a number of points from 0 on, such as 0.5")


DEFAULT = Criteria()
VERDICTS_ONLY = Criteria(resampled=False)  # for what shows no test by random draws


@dataclass(frozen=True)
class Measured:
    """A cell against the baseline's on the same task; NaN where there is no such number.

    ``by_seed``: differences of the scores, in order of the seeds that make a pair; ``paired``: over these alone;
    ``difference``: over seeds and examples, of fractions; ``improvement``: the probability that a run here is better
    than one there; ``won``: with how many seeds it is, ties half; ``p_seeds``: of the sign-flip test, from
    ``SIGN_FLIP_FROM`` seeds on; ``bootstrap``: p over seeds, and over seeds and examples, from ``BOOTSTRAP_FROM`` seeds
    on, if asked for; ``notes``: which seeds are not paired and why; ``complaints``: damaged files; ``one_subset``:
    whether all seeds have the same part of the data, on which all of this is conditional; ``is_fraction``: whether the
    scores are fractions, and not in units of an analysis; ``collapsed``: whether half
    of its runs or more always give one class, which helps nobody whatever it scores.
    """

    by_seed: Vector
    paired: Paired
    difference: Crossed
    notes: list[str]
    complaints: list[str]
    improvement: float = math.nan
    won: float = 0
    p_seeds: float = math.nan
    bootstrap: tuple[float, float] = (math.nan, math.nan)
    one_subset: bool = False
    is_fraction: bool = True
    collapsed: bool = False

    @property
    def too_few(self) -> bool:
        """Whether there are pairs, but not enough for an interval, a test or a verdict."""
        return 0 < self.paired.n < INFERENCE_FROM

    @property
    def one_sign(self) -> bool:
        """Whether no seed contradicts another on which side is better."""
        return not (self.by_seed.min(initial=0) < 0 < self.by_seed.max(initial=0))


@dataclass(frozen=True)
class Compared:
    """What was measured, and the verdict on it; ``decision``: what could have been concluded while seeds were added one
    by one; ``p_seeds``: as measured. Verdict, decision and p are adjusted for the ``family``, so many comparisons."""

    measured: Measured
    verdict: Verdict
    decision: Decision
    p_seeds: float
    family: int


def against_method(
    plan: Plan, results: Mapping[Place, Result], baseline: str, criteria: Criteria = DEFAULT
) -> dict[Place, Compared]:
    """Every other row against the row of one method, paired by seed and by example.

    Raises:
        UserError: no row of the table has that title.
    """
    pairs = list(pairs_with(results, baseline))
    if not pairs:
        rows = list(dict.fromkeys(row.title for _, row, _ in results))
        if rows == [baseline]:
            raise UserError(f"{baseline} is the only row of {plan.key}: run another technique to compare it with")
        raise UserError(f"{plan.key} has no row {baseline!r} to compare with; there are {', '.join(rows)}")
    (compared,) = in_pairs([pairs], criteria)
    return compared


def in_pairs(questions: Sequence[Sequence[Pair]], criteria: Criteria) -> list[dict[Place, Compared]]:
    """For every question its cells, each against the one that it is given with."""
    asked: dict[Place, list[tuple[int, Result, Result]]] = defaultdict(list)
    for number, pairs in enumerate(questions):
        for place, result, base in pairs:
            asked[place].append((number, result, base))
    read = lru_cache(maxsize=256)(read_predictions)  # the baselines' are needed for every row of a task
    measured: list[dict[Place, Measured]] = [{} for _ in questions]
    for place in sorted(asked, key=lambda place: (place[0], place[2])):
        for number, result, base in asked[place]:
            draws = max(DRAWS, 1000 * len(questions[number]))  # so that even the least p, adjusted, is below 0.001
            measured[number][place] = _measured(result, base, draws, read, criteria.resampled)
    return [_in_families(pairs, of, criteria) for pairs, of in zip(questions, measured, strict=True)]


def _in_families(
    pairs: Sequence[Pair], measured: Mapping[Place, Measured], criteria: Criteria
) -> dict[Place, Compared]:
    """Judged with those that share their errors, in the order of the pairs."""
    families: dict[tuple[str, ...], dict[Place, Measured]] = defaultdict(dict)
    for place, _, _ in pairs:
        block, _, task = place
        families[(block, task) if criteria.family == TASK else ()][place] = measured[place]
    compared = {place: cell for family in families.values() for place, cell in _judged(family, criteria).items()}
    return {place: compared[place] for place, _, _ in pairs}


def _judged(family: Mapping[Place, Measured], criteria: Criteria) -> dict[Place, Compared]:
    """With p-values adjusted for one another, and the verdicts that follow."""
    correction = CORRECTIONS[criteria.correction]
    words = verdicts([cell.difference for cell in family.values()], criteria.margin, correction)
    p_seeds = correction([cell.p_seeds for cell in family.values()]).tolist()
    return {
        place: Compared(
            cell,
            _fitting(verdict, cell),
            decision(cell.by_seed, criteria, len(family), cell.collapsed),
            p,
            len(family),
        )
        for (place, cell), verdict, p in zip(family.items(), words, p_seeds, strict=True)
    }


def _fitting(verdict: Verdict, cell: Measured) -> Verdict:
    if not cell.is_fraction:
        return without_margin(verdict)
    return without_help(verdict) if cell.collapsed else verdict


def decision(by_seed: Vector, criteria: Criteria, family: int, has_collapsed: bool) -> Decision:
    """On differences in order of their seeds. Bonferroni: it cannot wait for the family's other p-values.

    Args:
        has_collapsed: as ``Measured.collapsed``.
    """
    decided = decide(by_seed, criteria.margin, level=1 - LEVEL / family)
    return Decision(UNDECIDED, len(by_seed)) if has_collapsed and decided.word == HELPS else decided


def without_help(verdict: Verdict) -> Verdict:
    """Undecided in place of ``helps``: runs that always give one class are better by luck of the labels alone."""
    return replace(verdict, word=UNDECIDED) if verdict.word == HELPS else verdict


def has_collapsed(result: Result, seeds: Collection[int]) -> bool:
    """Whether half of these runs or more always give one class."""
    return bool(seeds) and 2 * len({*result.cell.collapsed} & {*seeds}) >= len(seeds)


def decision_on(result: Result, base: Result, criteria: Criteria, family: int) -> Decision:
    """On a cell against that of a control, by their scores alone."""
    seeds, _ = comparable(result.shown, base.shown)
    a, b = ({seed: side.cell.scores[seed] for seed in seeds} for side in (result, base))
    return decision(seed_differences(a, b), criteria, family, has_collapsed(result, seeds))


def pairs_with(results: Mapping[Place, Result], baseline: str) -> Iterator[Pair]:
    """Every other row with the row of that title on the same task."""
    bases = {(block, task): result for (block, row, task), result in results.items() if row.title == baseline}
    for place, result in results.items():
        block, row, task = place
        if row.title != baseline and (block, task) in bases:
            yield place, result, bases[block, task]


def _measured(result: Result, base: Result, draws: int, read: _Read, resampled: bool) -> Measured:
    seeds, notes = comparable(result.shown, base.shown)
    predictions, complaints = _predictions((result, base), seeds, read)
    seeds = [seed for seed in seeds if all(seed in by_seed for by_seed in predictions)]
    a, b = ({seed: side.cell.scores[seed] for seed in seeds} for side in (result, base))
    paired, differences = paired_difference(a, b), seed_differences(a, b)
    if not seeds:
        return Measured(differences, paired, difference_over_seeds(differences), notes, complaints)
    notes += _collapsed(result, base, seeds)
    notes += alike_by_seed(*([by_seed[seed][1] for seed in seeds] for by_seed in predictions))
    of_runs = [[by_seed[seed] for seed in seeds] for by_seed in predictions]
    sign_flip, bootstrap = (resampled and len(seeds) >= least for least in (SIGN_FLIP_FROM, BOOTSTRAP_FROM))
    difference, p_both = _over_examples(result.cell.metric, of_runs, differences, bootstrap)
    if len(seeds) < INFERENCE_FROM:
        paired, difference = replace(paired, low=math.nan, high=math.nan), difference.untested
    if not difference.examples:
        notes.append("over seeds alone: the runs were not scored on the same examples, or on a single one")
    return Measured(
        differences,
        paired,
        difference,
        notes,
        complaints,
        improvement=probability_of_improvement(list(a.values()), list(b.values())),
        won=float((np.sign(differences) + 1).sum() / 2),
        p_seeds=permutation_p(differences, draws=draws) if sign_flip else math.nan,
        bootstrap=(bootstrap_p(differences) if bootstrap else math.nan, p_both),
        one_subset=bool(has_one_subset(result.shown).any()),
        is_fraction=result.cell.is_fraction,
        collapsed=has_collapsed(result, seeds),
    )


def _collapsed(result: Result, base: Result, seeds: Sequence[int]) -> Iterator[str]:
    """How many runs of either side have collapsed, if any."""
    for side, whose, consequence in (
        (result, "the technique's", "; that is never called help" * has_collapsed(result, seeds)),
        (base, "the control's", ""),
    ):
        if n := len({*side.cell.collapsed} & {*seeds}):
            yield f"{n} of {whose} {counted(len(seeds), 'run')} always give one class{consequence}"


def _predictions(results: tuple[Result, Result], seeds: list[int], read: _Read) -> tuple[list[_BySeed], list[str]]:
    """Labels and predictions of both sides by seed, without runs whose file is at fault; what is wrong with those."""
    predictions: list[_BySeed] = [{}, {}]
    complaints = []
    for result, by_seed in zip(results, predictions, strict=True):
        runs = result.shown.loc[seeds]
        for seed, path, score in zip(seeds, runs.path, runs.score, strict=True):
            split = result.split
            if result.planned[0].analysis:
                split = split or str(runs.split[seed])
                if split not in predicted_splits(Path(path)):  # such as a mean over several
                    by_seed[seed] = np.zeros(0), np.zeros(0)
                    continue
            try:
                by_seed[seed] = read(Path(path), split, result.cell.metric, score)
            except UserError as error:
                complaints.append(str(error))
    return predictions, complaints


def _over_examples(
    metric: str, of_runs: Sequence[Sequence[tuple[Floats, Floats]]], differences: Vector, resampled: bool
) -> tuple[Crossed, float]:
    """The difference over seeds and examples, or over the seeds alone if the runs were not scored on the same examples;
    its p by the Multi-Bootstrap, if that is asked for."""
    labels = of_runs[0][0][0]
    same = all(np.array_equal(labels, other) for side in of_runs for other, _ in side)
    if not same or len(labels) < 2:
        return difference_over_seeds(differences), math.nan
    a, b = (np.stack([predictions for _, predictions in side]) for side in of_runs)
    difference = crossed_difference(example_values(metric, labels, a) - example_values(metric, labels, b))
    p = multi_bootstrap(metric, labels, a, b).p if resampled else math.nan
    return difference, p
