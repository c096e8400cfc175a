"""Seeds until it is decided: which runs of a plan its records so far call for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hype_bench.render.answer import own_controls
from hype_bench.runs.status import DIVERGED, DONE, RunStatus
from hype_bench.sweeps.planned import Plan, PlannedRun
from hype_bench.tables.answer import undecided
from hype_bench.tables.compare import DEFAULT
from hype_bench.tables.experiment import results


def called_for(plan: Plan, statuses: Mapping[str, RunStatus]) -> Plan:
    """The part of a plan that is to be run: ``plan.least`` seeds of every cell, and of a technique and its control one
    more as long as all of theirs have ended, the verdict is open and the plan has more. All of it if ``least`` is 0.

    The decision is that of ``hype-bench answer`` at any time. It counts seeds in their order and no record beyond those
    called for: the same records always call for the same runs.

    Args:
        statuses: identity -> what became of the run: of the plan's own runs, or of all in the folder.
    """
    if not plan.least:
        return plan
    controls, cells = own_controls(), results(plan, {}, "paper")
    seeds = dict.fromkeys(cells, plan.least)
    for n in range(plan.least, max(run.seed for run in plan.runs)):
        so_far = replace(plan, runs=[run for run in plan.runs if run.seed <= n])
        read = results(so_far, statuses, "paper")
        ready = {place for place in cells if seeds[place] == n and _have_ended(read[place].planned, statuses)}
        growing = [pair for pair in undecided(read, controls, DEFAULT) if ready.issuperset(pair)]
        if not growing:
            break
        seeds |= {place: n + 1 for pair in growing for place in pair}
    runs = [run for place, cell in cells.items() for run in cell.planned if run.seed <= seeds[place]]
    return replace(plan, runs=runs, least=0)


def _have_ended(runs: Iterable[PlannedRun], statuses: Mapping[str, RunStatus]) -> bool:
    return all(run.identity in statuses and statuses[run.identity].state in (DONE, DIVERGED) for run in runs)
