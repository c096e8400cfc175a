"""A plan as a user reads it before a sweep: what is done, what is to do, and what that will cost."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from hype_bench.output import counted
from hype_bench.runs.status import RunStatus
from hype_bench.stats.power import MOST_SEEDS
from hype_bench.stats.verdict import MARGIN
from hype_bench.sweeps.cost import SOURCES, Cost, Group, cost_of
from hype_bench.sweeps.planned import Plan
from hype_bench.sweeps.power import power_of

_HEADERS = ("model", "task", "methods", "runs", "done", "failed", "to do", "time per run", "estimate")
_WIDTH = 40  # of the methods' names in a line


def plan_text(plan: Plan, statuses: Mapping[str, RunStatus]) -> str:
    """A line per model and task with the runs in all, done, failed and to do, and the hours that the rest will take;
    and what so many seeds can show, where finished runs tell.

    Args:
        statuses: as for :func:`hype_bench.sweeps.cost.cost_of`.
    """
    cost = cost_of(plan, statuses)
    by_task: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in cost.groups:
        by_task[group.model, group.task].append(group)
    rows = [_HEADERS, *((*model_and_task, *_row(groups)) for model_and_task, groups in by_task.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    problems = Counter(run.problem for run in plan.once() if run.problem)
    blocked = [f"{counted(count, 'run')} cannot begin yet: {problem}" for problem, count in problems.items()]
    scope = "" if plan.scope == "paper" else f" (scope {plan.scope})"
    below = [total(cost), *blocked, *_power(plan, statuses)]
    return "\n".join([f"{plan.name}{scope}: {plan.title}".rstrip(": "), "", *table, "", *below])


def at_most(plan: Plan, statuses: Mapping[str, RunStatus]) -> list[str]:
    """A line on a plan whose seeds depend on what they show: if every verdict stays open to the last seed."""
    if not plan.least:
        return []
    most = max(run.seed for run in plan.runs)
    least = f"at least that; where a verdict is open, up to {counted(most, 'seed')}"
    return ["", f"{least}, at most {total(cost_of(plan, statuses))}"]


def _row(groups: Sequence[Group]) -> list[str]:
    counts = [str(sum(getattr(group, name) for group in groups)) for name in ("runs", "done", "failed", "to_do")]
    unfinished = [group for group in groups if group.to_do] or groups
    seconds = sorted(group.seconds for group in unfinished if group.seconds is not None)
    times = dict.fromkeys(map(duration, (seconds[0], seconds[-1]))) if seconds else ["?"]
    source = max((group.source for group in unfinished), key=SOURCES.index)
    return [_names([group.method for group in groups]), *counts, " to ".join(times), source]


def _names(methods: list[str]) -> str:
    """The first ones, as far as they fit, and how many more there are."""
    shown = [n for n in range(1, len(methods) + 1) if n == 1 or len(", ".join(methods[:n])) <= _WIDTH][-1]
    more = [f"{len(methods) - shown} more"] if shown < len(methods) else []
    return ", ".join([*methods[:shown], *more])


def total(cost: Cost) -> str:
    runs, done, to_do = (sum(getattr(group, name) for group in cost.groups) for name in ("runs", "done", "to_do"))
    hours = [f"{_short(h)} {kind} hours ({', '.join(cost.devices[kind])})" for kind, h in sorted(cost.hours.items())]
    costs = [f"about {' and '.join(hours)}, one after another"] if hours else []
    costs += [f"{counted(cost.unknown, 'run')} of unknown cost"] if cost.unknown else []
    return "; ".join([f"{counted(runs, 'run')}, {done} done, {to_do} to do", *costs])


def _power(plan: Plan, statuses: Mapping[str, RunStatus]) -> list[str]:
    """A line for each model and task of which enough has finished."""
    lines = []
    for power in power_of(plan, statuses):
        able = f"{counted(power.seeds, 'seed')} can detect {100 * power.detectable:.1f} points"
        if math.isnan(power.detectable):
            able = "one seed can detect nothing"
        needed = f"more than {MOST_SEEDS}" if math.isinf(power.needed) else f"{power.needed:.0f}"
        measured = f"paired differences scatter by {100 * power.std:.2f} points, {power.freedom} degrees of freedom"
        lines.append(f"{power.model} {power.task}: {able}, {100 * MARGIN:g} points need {needed} ({measured})")
    head = "what a test over seeds detects in 80 % of the cases, by the spread of finished runs:"
    return ["", head, *lines] if lines else []


def duration(seconds: float) -> str:
    """``35 s``, ``12 min``, ``3.4 h``."""
    if seconds < 100:
        return f"{_short(seconds)} s"
    return f"{_short(seconds / 60)} min" if seconds < 6000 else f"{_short(seconds / 3600)} h"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
