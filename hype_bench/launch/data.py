"""The data sets of the runs of one process, each loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hype_bench.config import RunConfig
from hype_bench.options import UserError

if TYPE_CHECKING:  # torch and transformers come with it
    from hype_bench.tasks.data import TaskData

_KEPT = 2  # runs come task by task, so that the last data sets are enough
_DATA: dict[str, TaskData] = {}
_FINGERPRINTS: dict[str, tuple[str, list[str]] | UserError] = {}


def data_of(run: RunConfig) -> TaskData:
    """Raises UserError if the data cannot be loaded."""
    from hype_bench.tasks.data import load

    key = _key(run)
    if key not in _DATA:
        while len(_DATA) >= _KEPT:
            del _DATA[next(iter(_DATA))]
        _DATA[key] = load(run.task, run.data.drawn(run.seed))
    return _DATA[key]


def fingerprint_of(run: RunConfig) -> tuple[str, list[str]]:
    """The fingerprint of the data and the names of the classes.

    Raises:
        UserError: as :func:`data_of`; for the same data again without another attempt.
    """
    key = _key(run)
    if key not in _FINGERPRINTS:
        try:
            data = data_of(run)
            _FINGERPRINTS[key] = data.fingerprint, data.labels
        except UserError as error:  # trying again for every run of a plan would take minutes
            _FINGERPRINTS[key] = error
    fingerprint = _FINGERPRINTS[key]
    if isinstance(fingerprint, UserError):
        raise fingerprint
    return fingerprint


def _key(run: RunConfig) -> str:
    return repr((run.task, run.data.drawn(run.seed)))
