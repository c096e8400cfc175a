"""The data sets of the runs of one process, each loaded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from hype_bench.config import RunConfig
from hype_bench.options import UserError

if TYPE_CHECKING:  # torch and transformers come with it
    from hype_bench.analysis.measuring.form import Analysis
    from hype_bench.tasks.data import TaskData

T = TypeVar("T")
F = TypeVar("F")
_KEPT = 2  # runs come task by task, so that the last data sets are enough


class _Loaded(Generic[T, F]):
    """The last values that were loaded, and of all of them what tells them apart."""

    def __init__(self, identify: Callable[[T], F]) -> None:
        self.values: dict[str, T] = {}
        self.known: dict[str, F | UserError] = {}
        self.identify = identify

    def get(self, key: str, load: Callable[[], T]) -> T:
        if key not in self.values:
            while len(self.values) >= _KEPT:
                del self.values[next(iter(self.values))]
            self.values[key] = load()
        return self.values[key]

    def identity(self, key: str, load: Callable[[], T]) -> F:
        if key not in self.known:
            try:
                self.known[key] = self.identify(self.get(key, load))
            except UserError as error:  # trying again for every run of a plan would take minutes
                self.known[key] = error
        known = self.known[key]
        if isinstance(known, UserError):
            raise known
        return known


_DATA: _Loaded[TaskData, tuple[str, list[str]]] = _Loaded(lambda data: (data.fingerprint, data.labels))
_FURTHER: _Loaded[list[TaskData], list[str]] = _Loaded(lambda every: [data.fingerprint for data in every])


def data_of(run: RunConfig) -> TaskData:
    """Raises UserError if the data cannot be loaded."""
    return _DATA.get(_key(run), lambda: _load(run))


def fingerprint_of(run: RunConfig) -> tuple[str, list[str]]:
    """The fingerprint of the data and the names of the classes.

    Raises:
        UserError: as :func:`data_of`; for the same data again without another attempt.
    """
    return _DATA.identity(_key(run), lambda: _load(run))


def further_of(run: RunConfig, analysis: Analysis) -> list[TaskData]:
    """What an analysis reads beside the run's own data. Raises UserError if it cannot be loaded."""
    return _FURTHER.get(_key(run, analysis), lambda: analysis.data(run))


def fingerprints_of_further(run: RunConfig, analysis: Analysis) -> list[str]:
    """Their fingerprints. Raises UserError as :func:`further_of`; for the same data again without another attempt."""
    return _FURTHER.identity(_key(run, analysis), lambda: analysis.data(run))


def _load(run: RunConfig) -> TaskData:
    from hype_bench.tasks.data import load

    return load(run.task, run.data.drawn(run.seed))


def _key(run: RunConfig, analysis: Analysis | None = None) -> str:
    return repr((analysis, run.task, run.data.drawn(run.seed)))
