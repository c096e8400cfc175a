"""Data sets that the runs of one process share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hype_bench.config import RunConfig
from hype_bench.options import UserError

if TYPE_CHECKING:
    from hype_bench.tasks.data import TaskData

_KEPT = 2  # runs come task by task, so that the last data sets are enough
_DATA: dict[str, TaskData] = {}
_FINGERPRINTS: dict[str, tuple[str, list[str]] | UserError] = {}


def data_of(run: RunConfig) -> TaskData:
    """The run's data, read unless an earlier run has just used them. Raises UserError if they are not available."""
    from hype_bench.tasks.data import load

    key = _key(run)
    if key not in _DATA:
        while len(_DATA) >= _KEPT:
            del _DATA[next(iter(_DATA))]
        _DATA[key] = load(run.task, run.data)
    return _DATA[key]


def fingerprint_of(run: RunConfig) -> tuple[str, list[str]]:
    """The hash of the run's data and the names of its classes. Raises UserError as :func:`data_of` does."""
    key = _key(run)
    if key not in _FINGERPRINTS:
        try:
            data = data_of(run)
            _FINGERPRINTS[key] = data.fingerprint, data.labels
        except UserError as error:  # trying again for every run of a plan would take minutes
            _FINGERPRINTS[key] = error
    if isinstance(fingerprint := _FINGERPRINTS[key], UserError):
        raise fingerprint
    return fingerprint


def _key(run: RunConfig) -> str:
    return repr((run.task, run.data))
