"""Rows against one of their own: the test, the verdict and what it rests on, as sheets and as columns of a CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hype_bench.output import counted
from hype_bench.render.sheet import EMPTY, Pieces, Sheet, difference, p_value, signed_interval
from hype_bench.render.sheet import number as shown
from hype_bench.render.table_csv import difference_numbers, number
from hype_bench.stats.bootstrap import BOOTSTRAP_FROM
from hype_bench.stats.crossed import Crossed
from hype_bench.stats.multiple import stars
from hype_bench.stats.permutation import SIGN_FLIP_FROM, least_p
from hype_bench.stats.power import MOST_SEEDS
from hype_bench.stats.verdict import UNDECIDED, Verdict
from hype_bench.tables.cells import INFERENCE_FROM
from hype_bench.tables.compare import DEFAULT, TASK, Compared, Criteria
from hype_bench.tables.experiment import Place

CORRECTION_NAMES = {"holm": "Holm", "bh": "Benjamini-Hochberg"}
_NOTE = (
    "difference: paired by seed and by example; its 95 % interval and p are of a t test over seeds and examples at "
    "once (crossed, Satterthwaite), which has no floor; standard error: its parts from the seeds and the examples, in "
    "points; over seeds: Student's 95 % interval on these very examples; P(improvement): the probability that a run of "
    "the row is better than one of the baseline, over all pairs of runs, ties counted half, and the seeds it wins"
)
_FAMILY = (
    "p adjusted by {correction} over {family}; * below 0.05, ** 0.01, *** 0.001, no star where seeds differ in sign"
)
_SIGN_FLIP = "sign-flip p: permutation test over seeds, which cannot fall below {least} before it is adjusted"
_BOOTSTRAP = "bootstrap p: over seeds; over seeds and examples (Multi-Bootstrap); not adjusted"
_VERDICT = (
    "verdict at a margin of ± {margin} points (--margin): no difference beyond it (two one-sided tests, p < 0.05 "
    "adjusted likewise), else helps or hurts (p < 0.05), else undecided; detectable: the smallest true difference in "
    "points that so many seeds find in 80 % of the cases, and how many more seeds would find one of the margin"
)

TOO_FEW = (
    f"below {INFERENCE_FROM} seeds differences are shown without interval, test and verdict: so few say next to "
    "nothing of how much seeds scatter"
)

_OWN_UNITS = (
    "what an analysis measures by a metric of its own is in its units, as in the table, and not in points: there is no "
    "margin then, and the verdict is higher or lower (p < 0.05), else undecided"
)


def paired_sheet(block: str, cells: Mapping[Place, Compared], baseline: str, criteria: Criteria) -> Sheet:
    """A line for each row and task; tests that need more seeds than any line has are left out."""
    most = max((cell.measured.paired.n for cell in cells.values()), default=0)
    titled = [(f"{row.title}, {task}", cell) for (_, row, task), cell in cells.items()]
    rows = [(title, _pieces(cell, most)) for title, cell in titled]
    notes = [*_notes(cells, criteria, most), *remarks(titled)]
    kind = f"against {baseline}, model"
    columns = _columns(criteria, most)
    return Sheet(block, columns, rows, notes, kind=kind, corner="method, task")


def remarks(titled: Sequence[tuple[str, Compared]]) -> list[str]:
    """What is to be said of single comparisons, each remark once, behind the titles of those that it is about: layers
    have the same one dozens of times. Without titles if it is about all of several."""
    about: dict[str, list[str]] = {}
    for title, cell in titled:
        for text in cell.measured.notes:
            about.setdefault(text, []).append(title)
    return [f"{'; '.join(some)}: {text}" if len(some) < max(len(titled), 2) else text for text, some in about.items()]


def _columns(criteria: Criteria, most: int) -> list[tuple[str, str]]:
    correction = CORRECTION_NAMES[criteria.correction]
    return [
        ("difference", "95 % interval"),
        ("p", correction),
        ("standard error", "seeds, examples"),
        ("over seeds", "95 % interval"),
        ("P(improvement)", "seeds won"),
        *([("sign-flip p", correction)] if most >= SIGN_FLIP_FROM else []),
        *([("bootstrap p", "seeds, both")] if most >= BOOTSTRAP_FROM else []),
        ("verdict", f"± {100 * criteria.margin:g}"),
        ("detectable", "more seeds"),
    ]


def _notes(cells: Mapping[Place, Compared], criteria: Criteria, most: int) -> list[str]:
    largest = max((cell.family for cell in cells.values()), default=0)
    lines = counted(largest, "comparison")
    family = f"the {lines} on a task" if criteria.family == TASK else f"all {lines} of the table"
    notes = [_NOTE, _FAMILY.format(correction=CORRECTION_NAMES[criteria.correction], family=family)]
    if most >= SIGN_FLIP_FROM:
        sizes = sorted({n for cell in cells.values() if (n := cell.measured.paired.n) >= SIGN_FLIP_FROM})
        floors = ", ".join(f"{least_p(n):.2g} with {counted(n, 'seed')}" for n in sizes)
        notes.append(_SIGN_FLIP.format(least=floors))
    notes += [_BOOTSTRAP] if most >= BOOTSTRAP_FROM else []
    notes.append(_VERDICT.format(margin=f"{100 * criteria.margin:g}"))
    notes += [_OWN_UNITS] * any(not cell.measured.is_fraction for cell in cells.values())
    return notes + [TOO_FEW] * any(cell.measured.too_few for cell in cells.values())


def _pieces(cell: Compared, most: int) -> list[Pieces]:
    measured, verdict = cell.measured, cell.verdict
    paired, test = measured.paired, measured.difference
    if not paired.n:
        return [("X", "", " (no pairs)"), *[EMPTY] * (len(_columns(DEFAULT, most)) - 1)]
    improvement: Pieces = f"{measured.improvement:.2f}", "", f" ({measured.won:g} of {paired.n})"
    bootstrap: Pieces = ", ".join(p_value(p) for p in measured.bootstrap), "", ""
    return [
        difference(test.mean, *test.interval(), measured.is_fraction),
        _starred(verdict.p, measured.one_sign),
        _error(test, measured.is_fraction),
        ("", "", "-" if math.isnan(paired.low) else signed_interval(paired.low, paired.high, measured.is_fraction)),
        improvement,
        *([_starred(cell.p_seeds, measured.one_sign)] if most >= SIGN_FLIP_FROM else []),
        *([bootstrap] if most >= BOOTSTRAP_FROM else []),
        ("", "", verdict.word),
        power(verdict, measured.is_fraction),
    ]


def _starred(p: float, one_sign: bool) -> Pieces:
    return p_value(p), "", f" {stars(p)}" if one_sign and stars(p) else ""


def _error(test: Crossed, is_fraction: bool) -> Pieces:
    if math.isnan(test.error):
        return "-", "", ""
    from_examples = shown(test.from_examples, is_fraction) if test.examples else "-"
    return f"{shown(test.from_seeds, is_fraction)}, {from_examples}", "", ""


def power(verdict: Verdict, is_fraction: bool = True) -> Pieces:
    """The detectable difference; behind it, if the question is open, how many more seeds would settle it."""
    if math.isnan(verdict.detectable):
        return "-", "", ""
    more = f"> {MOST_SEEDS}" if math.isinf(verdict.more_seeds) else f"{verdict.more_seeds:.0f}"
    is_open = verdict.word == UNDECIDED and is_fraction
    return shown(verdict.detectable, is_fraction), "", f" ({more})" if is_open else ""


def paired_numbers(cell: Compared) -> dict[str, object]:
    """For a line of a CSV."""
    measured, verdict = cell.measured, cell.verdict
    paired, test = measured.paired, measured.difference
    return {
        "pairs": paired.n,
        **difference_numbers(test.mean, *test.interval()),
        "p_adjusted": number(verdict.p),
        "error_seeds_fraction": number(test.from_seeds),
        "error_examples_fraction": number(test.from_examples) if test.examples else None,
        "seeds_low_fraction": number(paired.low),
        "seeds_high_fraction": number(paired.high),
        "p_improvement": number(measured.improvement),
        "seeds_won": measured.won,
        "p_seeds_adjusted": number(cell.p_seeds),
        "p_seeds_bootstrap": number(measured.bootstrap[0]),
        "p_both_bootstrap": number(measured.bootstrap[1]),
        "verdict": verdict.word if paired.n else "",
        "detectable_fraction": number(verdict.detectable),
        "decision": cell.decision.word if paired.n else "",
        "decision_seeds": cell.decision.seeds,
        "more_seeds": None if math.isinf(verdict.more_seeds) else number(verdict.more_seeds),
    }
