"""The runs of a folder as if they were an experiment, so that what is asked of one can be asked of plain sweeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from hype_bench.runs.frame import tidy
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.planned import ALL, Plan, PlannedRun
from hype_bench.sweeps.workload import workload_of
from hype_bench.tables.same_seed import without_copies
from hype_bench.tables.table import CELL, is_own, named_rows


def plan_of_runs(runs: Iterable[RunStatus]) -> Plan:
    """A plan of every run whose record or request can be read, its rows named as in the table of all runs.

    Of several records of one seed the one counts that the table of all runs counts.
    """
    readable = [run for run in runs if run.about is not None]
    frame = tidy(readable)
    models = frame[frame.headline].groupby("model", observed=True)
    planned = [run for _, members in models for run in _planned(members, readable)]
    return Plan(ALL, "All runs", "paper", None, [], _command(planned), planned)


def _planned(frame: pd.DataFrame, statuses: Sequence[RunStatus]) -> Iterator[PlannedRun]:
    row_of = named_rows(frame, statuses)
    counted, _ = without_copies(frame, CELL, lambda number: is_own(statuses[number]))
    counted = counted[counted.status == frame.status.astype(object)]
    counted = counted.sort_values(["task", "seed"], key=lambda column: column.astype(object))
    places = list(counted[CELL].itertuples(index=True, name=None))
    for number, *place in sorted(places, key=lambda entry: row_of[entry[1:]].rank):
        about = statuses[number].about
        assert about is not None
        label = about.label
        yield PlannedRun(
            identity=statuses[number].identity,
            block=label.model,
            model=label.model,
            task=label.task,
            metric=label.metric,
            method=label.method,
            row="",
            settings=dict(row_of[tuple(place)].settings),
            configuration={},
            is_default=True,
            seed=label.seed,
            overrides=list(about.overrides or []),
            analysis=about.analysis,
            workload=workload_of(about.training, about.data),
        )


def _command(planned: Iterable[PlannedRun]) -> str:
    """A sweep over what the runs were started with."""
    values: dict[str, list[str]] = defaultdict(list)
    for run in planned:
        for override in run.overrides:
            key, _, value = override.partition("=")
            values[key].append(value)
    return " ".join(["python run.py -m", *(f"{key}={','.join(dict.fromkeys(each))}" for key, each in values.items())])
