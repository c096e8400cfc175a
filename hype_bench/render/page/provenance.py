"""Where the numbers of a page come from: states of the runs, hours, machines, software, commits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from hype_bench.output import counted
from hype_bench.runs.record import Record
from hype_bench.runs.status import STATES, RunStatus


def provenance(runs: Iterable[RunStatus]) -> dict[str, str]:
    """What is said of all runs together, in a line each."""
    runs = list(runs)
    states = Counter(run.state for run in runs)
    seconds: Counter[str] = Counter()
    setups: dict[str, Counter[str]] = defaultdict(Counter)
    for record in (run.record for run in runs if run.record is not None):
        seconds[record.device] += int(sum(record.seconds.values()))
        for name, value in _setup(record).items():
            setups[name][value] += 1
    lines = {
        "runs": ", ".join([str(len(runs)), *(f"{states[state]} {state}" for state in STATES if states[state])]),
        "cost so far": ", ".join(f"{total / 3600:.2g} hours of {device}" for device, total in sorted(seconds.items())),
    }
    for name, values in setups.items():
        lines[name] = "; ".join(f"{value} ({counted(count, 'run')})" for value, count in values.most_common())
    return {name: text for name, text in lines.items() if text}


def _setup(record: Record) -> dict[str, str]:
    machine, git = record.machine, record.git or {}
    words = {
        "machines": " ".join(str(machine[key]) for key in ("device", "device_name") if machine.get(key)),
        "software": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "commits": f"{git.get('commit', '')}{', with changes' * bool(git.get('changed'))}",
        "code format": str(record.parts.get("format", "")),
        "day": record.ended[:10],
    }
    return {name: text for name, text in words.items() if text}
