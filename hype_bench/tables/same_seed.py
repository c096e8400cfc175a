"""Runs that look alike and are not: two records of one seed, machines and software that differ within a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hype_bench.runs.status import DIVERGED, DONE, NOT_SCORED

if TYPE_CHECKING:
    import pandas as pd

_NOT_COUNTED = "not counted"
_ENDED = [DONE, NOT_SCORED, DIVERGED]  # the states of runs that have a record
_SETUP = ["device", "threads"]


def without_copies(
    runs: pd.DataFrame, by: Sequence[str], is_own: Callable[[int], bool]
) -> tuple[pd.DataFrame, dict[tuple[Any, ...], list[str]]]:
    """Runs of which at most one record of a seed counts in each group, and notes on the others.

    Of several records the one counts that lies in the folder named by its identity, where runs put theirs; others are
    copies. If none does, none counts: nobody knows which is right.

    Args:
        is_own: whether the run of that index lies in the folder named by its identity.
    """
    notes: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    records = runs[runs.status.isin(_ENDED)]
    same = records[records.duplicated([*by, "seed"], keep=False)]
    copies: list[int] = []
    for (*place, seed), group in same.groupby([*by, "seed"], observed=True):
        own = group.index.map(is_own).to_numpy(bool)
        copies.extend(group.index[~own])
        counts = [*group.identity[own], "none of them"][0]
        folders = ", ".join(group.identity)
        notes[tuple(place)].append(f"seed {seed} has {len(group)} records ({folders}), of which {counts} counts")
    status = runs.status.astype(object).mask(runs.index.isin(copies), _NOT_COUNTED)
    return runs.assign(status=status), notes


def mixtures(runs: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], str]:
    """In what the machines and the software behind one number differ: ``its runs differ in device cpu, cuda``.

    Threads count on a CPU alone, where they decide in which order sums are formed.
    """
    packages = [name for name in map(str, runs) if name.startswith("version.")]
    setups = runs[runs.status.isin(_ENDED)][[*by, *_SETUP, *packages]].drop_duplicates()
    setups = setups[setups.duplicated(by, keep=False)]
    mixed = {}
    for place, group in setups.groupby(list(by), observed=True):
        device = group.device.astype(object).fillna("unknown")
        values = {"device": device, "threads": group.threads[device == "cpu"].astype(object).fillna("unknown")}
        values |= {name.removeprefix("version."): group[name].dropna() for name in packages}
        words = [
            f"{name} {', '.join(sorted(set(map(str, used))))}" for name, used in values.items() if used.nunique() > 1
        ]
        if words:
            mixed[place] = f"its runs differ in {'; '.join(words)}"
    return mixed
