"""What a plan's seeds can show, by the spread of finished runs of the same model and task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hype_bench.runs.record import Record
from hype_bench.runs.status import DONE, RunStatus
from hype_bench.stats.means import mean_and_std
from hype_bench.stats.power import detectable, seeds_needed
from hype_bench.stats.verdict import MARGIN
from hype_bench.sweeps.planned import Plan

_BASE = "vanilla"
_Scores = dict[int, float]  # by seed


@dataclass(frozen=True)
class Power:
    """Of a model and a task: how many ``seeds`` the plan has; the pooled standard deviation ``std`` of the differences
    between two techniques under one seed, as a fraction, and the ``freedom`` it is measured with; the smallest
    difference ``detectable`` with so many seeds, NaN below two; how many are ``needed`` for one of ``MARGIN``, infinite
    if very many are."""

    model: str
    task: str
    seeds: int
    std: float
    freedom: int
    detectable: float
    needed: float


def power_of(plan: Plan, statuses: Mapping[str, RunStatus]) -> list[Power]:
    """In the order of the plan, for models and tasks of which two techniques have finished under two seeds.

    Args:
        statuses: identity -> what became of the run, of all in the folder.
    """
    seeds: dict[tuple[str, str], set[int]] = defaultdict(set)
    for run in plan.runs:
        seeds[run.model, run.task].add(run.seed)
    spreads = _spreads(statuses.values(), seeds)
    return [_power(place, len(seeds[place]), *spreads[place]) for place in seeds if place in spreads]


def _power(place: tuple[str, str], seeds: int, std: float, freedom: int) -> Power:
    least = float(detectable(std / math.sqrt(seeds), seeds - 1)) if seeds > 1 else math.nan
    return Power(*place, seeds, std, freedom, least, seeds_needed(std, MARGIN))


def _spreads(
    statuses: Iterable[RunStatus], places: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], tuple[float, int]]:
    """Model and task -> standard deviation of paired differences, and its degrees of freedom."""
    pooled: dict[tuple[str, str], tuple[float, int]] = {}
    for place, alike in _alike(statuses, set(places)):
        base = alike.get(_BASE) or next(iter(alike.values()))
        for scores in alike.values():
            common = sorted(scores.keys() & base.keys())
            if scores is not base and len(common) > 1:
                _, std = mean_and_std([scores[seed] - base[seed] for seed in common])
                squares, freedom = pooled.get(place, (0.0, 0))
                pooled[place] = squares + std**2 * (len(common) - 1), freedom + len(common) - 1
    return {place: (math.sqrt(squares / freedom), freedom) for place, (squares, freedom) in pooled.items()}


def _alike(
    statuses: Iterable[RunStatus], places: set[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], dict[str, _Scores]]]:
    """The scores of runs that differ in technique and seed alone: by technique with its options, then by seed."""
    groups: dict[tuple[tuple[str, str], str], dict[str, _Scores]] = defaultdict(lambda: defaultdict(dict))
    settings: dict[int, tuple[str, str]] = {}  # of parts by their id: the runs of a cell have the same object
    for status in statuses:
        record = status.record
        if status.state != DONE or record is None or (record.label.model, record.label.task) not in places:
            continue
        score = record.headline
        if score is not None and math.isfinite(score):
            if id(record.parts) not in settings:
                settings[id(record.parts)] = _settings(record)
            shared, method = settings[id(record.parts)]
            groups[(record.label.model, record.label.task), shared][method][record.label.seed] = score
    for (place, _), alike in groups.items():
        yield place, alike


def _settings(record: Record) -> tuple[str, str]:
    """All but technique and seed; and the technique with its options."""
    shared = [item for item in record.parts.items() if item[0] not in ("seed", "methods", "plugins")]
    has_options = any(options for _, options in record.methods)
    return repr(shared), repr(record.methods) if has_options else record.label.method
