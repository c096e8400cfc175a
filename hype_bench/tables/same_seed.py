"""Runs that look alike and are not: two records of one seed, machines and software that differ within a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hype_bench.runs.identity import digest
from hype_bench.runs.record import Record
from hype_bench.runs.status import RunStatus


def rightful(runs: list[RunStatus]) -> tuple[list[RunStatus], list[str]]:
    """The runs of a cell with at most one record of a seed, and what to say of the others.

    Of several records the one counts that lies in the folder named by its identity, where runs put theirs; others are
    copies. If none does, none counts: nobody knows which is right.
    """
    by_seed: dict[int, list[RunStatus]] = defaultdict(list)
    for run in runs:
        if run.record is not None:
            by_seed[run.record.label.seed].append(run)
    left_out: set[str] = set()
    notes = []
    for seed, same in by_seed.items():
        if len(same) > 1:
            own = [run for run in same if run.identity == _identity(run)]
            left_out |= {run.identity for run in same if run not in own}
            counts = own[0].identity if own else "none of them"
            folders = ", ".join(run.identity for run in same)
            notes.append(f"seed {seed} has {len(same)} records ({folders}), of which {counts} counts")
    return [run for run in runs if run.identity not in left_out], notes


def _identity(run: RunStatus) -> str:
    assert run.record is not None
    return digest({**run.record.parts, "seed": run.record.label.seed})


def mixtures(records: Iterable[Record]) -> list[str]:
    """In what the machines and the software behind one number differ: ``["device cpu, cuda", "torch 2.12, 2.13"]``.

    Threads count on a CPU alone, where they decide in which order sums are formed.
    """
    different: dict[tuple[int, int], Record] = {}  # records share these dictionaries: 100,000 are few kinds
    for record in records:
        different.setdefault((id(record.machine), id(record.versions)), record)
    values: dict[str, set[str]] = defaultdict(set)
    for record in different.values():
        values["device"].add(record.device)
        if record.device == "cpu":
            values["threads"].add(str(record.machine.get("threads", "unknown")))
        for package, version in record.versions.items():
            values[package].add(str(version))
    return [f"{name} {', '.join(sorted(found))}" for name, found in values.items() if len(found) > 1]
