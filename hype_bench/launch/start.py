"""How the sweep of an experiment starts: its plan is written, finished runs are noted, the rest is to do."""

from __future__ import annotations

from pathlib import Path

from hype_bench.output import counted
from hype_bench.runs.status import DIVERGED, DONE, read_named
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import JobResult, write_note
from hype_bench.sweeps.planned import Plan, PlannedRun, write_plan


def start_sweep(plan: Plan, results_dir: str | Path, sweep: Path) -> list[PlannedRun]:
    """Writes the plan and returns the runs to do, in the order in which they will run.

    Their jobs have the numbers 0, 1, ... in the sweep's folder; runs done before are noted behind them.
    """
    write_plan(results_dir, plan)
    runs = list(plan.once())
    started = read_named(results_dir, [run.identity for run in runs if run.identity])
    finished = [status for status in started if status.state in (DONE, DIVERGED)]
    done = {status.identity for status in finished}
    to_do = [run for run in runs if run.identity not in done]
    for number, status in enumerate(finished, start=len(to_do)):
        summary = status.record.summary if status.record else ""
        result = JobResult(status.state, status.title, status.identity, status.reason, skipped=True, summary=summary)
        write_note(sweep, number, result)
    jobs = len(to_do) + len(finished)
    rows = f", {len(plan.runs)} in rows of its table" if len(plan.runs) != jobs else ""
    display.say(f"{plan.name}: {counted(jobs, 'run')}{rows}; {len(finished)} done before, {len(to_do)} to do")
    display.start_sweep(len(to_do), len(finished))
    return to_do
