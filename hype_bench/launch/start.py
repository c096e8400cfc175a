"""How the sweep of an experiment begins: its plan is on disk, what is done is noted, the rest is to do."""

from __future__ import annotations

from pathlib import Path

from hype_bench.output import counted
from hype_bench.runs.status import DIVERGED, DONE, read_named
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import Ended, note
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan


def begin(plan: Plan, results_dir: str | Path, sweep: Path) -> list[PlannedRun]:
    """Writes the plan and returns the runs that are to do, in the order in which they shall run.

    Their jobs have the numbers 0, 1, ... in the sweep's folder; runs done before are noted behind them.
    """
    write_plan(results_dir, plan)
    runs = list(plan.once())
    begun = read_named(results_dir, [run.identity for run in runs if run.identity])
    before = [status for status in begun if status.state in (DONE, DIVERGED)]
    done = {status.identity for status in before}
    to_do = [run for run in runs if run.identity not in done]
    for number, status in enumerate(before, start=len(to_do)):
        found = status.record.summary if status.record else ""
        ended = Ended(status.state, status.title, status.identity, status.reason, skipped=True, found=found)
        note(sweep, number, ended)
    jobs = len(to_do) + len(before)
    rows = f", {len(plan.runs)} in rows of its table" if len(plan.runs) != jobs else ""
    display.say(f"{plan.name}: {counted(jobs, 'run')}{rows}; {len(before)} done before, {len(to_do)} to do")
    display.start_sweep(len(to_do), len(before))
    return to_do
