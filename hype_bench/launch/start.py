"""How the sweep of an experiment goes on: its plan is written, finished runs are noted, the rest is to do; and again,
while a verdict asks for more seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hype_bench.launch.seeds import called_for
from hype_bench.output import counted
from hype_bench.runs.status import DIVERGED, DONE, read_named
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import JobResult, read_notes, wait_for_others, write_note
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan


def rounds(plan: Plan, results_dir: Path, sweep: Path) -> Iterator[tuple[int, list[PlannedRun]]]:
    """The number of the first job and the runs to do, round after round; a single round if the seeds are given.

    Which runs a round has follows from the records, so a sweep that was killed goes on where it was. A round without
    runs to do may be followed by another.
    """
    earlier: set[str] = set()
    while True:
        called = _called_for(plan, results_dir) if plan.least else plan
        runs = [run for run in called.once() if run.key not in earlier]
        if earlier and not runs:
            return
        write_plan(results_dir, called)
        yield len(earlier), _to_do(called, runs, results_dir, sweep, len(earlier))
        if not plan.least:
            return
        earlier |= {run.key for run in runs}
        wait_for_others(read_notes(sweep).values(), results_dir, display.say)


def _called_for(plan: Plan, results_dir: Path) -> Plan:
    names = {run.identity for run in plan.runs if run.identity}
    return called_for(plan, {run.identity: run for run in read_named(results_dir, sorted(names))})


def _to_do(plan: Plan, runs: Sequence[PlannedRun], results_dir: Path, sweep: Path, first: int) -> list[PlannedRun]:
    """The runs to do, in the order in which they will run.

    Their jobs have the numbers ``first``, ``first + 1``, ... in the sweep's folder; runs done before are noted behind
    them.
    """
    started = read_named(results_dir, [run.identity for run in runs if run.identity])
    finished = [status for status in started if status.state in (DONE, DIVERGED)]
    done = {status.identity for status in finished}
    to_do = [run for run in runs if run.identity not in done]
    for number, status in enumerate(finished, start=first + len(to_do)):
        summary = status.record.summary if status.record else ""
        result = JobResult(status.state, status.title, status.identity, status.reason, skipped=True, summary=summary)
        write_note(sweep, number, result)
    jobs = len(to_do) + len(finished)
    rows = f", {len(plan.runs)} in rows of its table" if len(plan.runs) != first + jobs else ""
    what = counted(jobs, "more run" if first else "run") + (" where a verdict is open" if first else rows)
    display.say(f"{plan.key}: {what}; {len(finished)} done before, {len(to_do)} to do")
    display.start_sweep(len(to_do), first + len(finished))
    return to_do
