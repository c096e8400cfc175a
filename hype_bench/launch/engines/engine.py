"""What all engines share: checks before the first job, workers in the right folder, a note of every job."""

from __future__ import annotations

import copy
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from hype_bench.launch.engines.progress import watching_jobs
from hype_bench.launch.engines.worker import work
from hype_bench.launch.errors import one_line
from hype_bench.options import UserError
from hype_bench.runs.status import FAILED
from hype_bench.sweeps.grids import write
from hype_bench.sweeps.outcomes import JobResult, has_note, write_note, write_traceback

Job = Sequence[str]  # its overrides

_PATIENCE = 60.0  # seconds until a shared folder shows what another machine wrote


class Engine(ABC):
    """One of Hydra's launchers, with its options from ``conf/hydra/launcher``."""

    extra: ClassVar[str]  # of pyproject.toml
    plugin: ClassVar[str]  # its module in the package hydra_plugins
    launcher: ClassVar[str]  # the launcher's class in that module
    echo: ClassVar[bool] = True  # whether a worker's output goes elsewhere than to the terminal

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name, self.options = name, dict(options)

    def setup(self, hydra_context: HydraContext, config: DictConfig) -> None:
        """Keeps what the jobs need.

        Raises:
            UserError: the extra is not installed, an option is invalid, or no job would ever start.
        """
        if find_spec(f"hydra_plugins.{self.plugin}") is None:
            raise UserError(f"hydra/launcher={self.name} needs more packages: pip install 'hype-bench[{self.extra}]'")
        self.check()
        self.hydra_context = hydra_context
        self.sweep = Path.cwd() / str(config.hydra.sweep.dir)
        self.config = _for_workers(config, self.sweep)

    def launch(self, jobs: Sequence[Job], first: int) -> list[JobReturn]:
        """Runs the jobs with the numbers ``first``, ``first + 1``, ... until all have ended.

        Raises:
            UserError: the engine accepts no jobs.
        """
        numbered = dict(enumerate(jobs, first))
        titles = dict(enumerate(_titles(jobs), first))
        with watching_jobs(self.sweep, numbered) as watcher:
            for number, error in self.run(numbered).items():
                self._note_lost(number, titles[number], error)
            watcher.wait(_PATIENCE)
            for number in sorted(watcher.missing):
                error = UserError(f"it left no note in {self.sweep}: do all machines share that folder?")
                self._note_lost(number, titles[number], error)
            watcher.poll()
        return [JobReturn(overrides=list(job), status=JobStatus.COMPLETED) for job in jobs]  # the notes say the rest

    @abstractmethod
    def check(self) -> None:
        """Raises UserError for invalid options and machines that do not answer."""

    @abstractmethod
    def run(self, jobs: Mapping[int, Job]) -> dict[int, Exception]:
        """Runs jobs, by their numbers; returns those that ended without a note, with their errors."""

    @property
    def task(self) -> TaskFunction:
        """What a worker does with a job."""
        return partial(work, str(Path.cwd()), self.echo)

    def run_with_hydra(
        self, jobs: Mapping[int, Job], task: TaskFunction | None = None, **options: Any
    ) -> dict[int, Exception]:
        """Runs jobs with consecutive numbers by Hydra's launcher. ``task``: in place of the engine's."""
        module = import_module(f"hydra_plugins.{self.plugin}.{self.plugin.removeprefix('hydra_')}")
        launcher: Launcher = getattr(module, self.launcher)(**options)
        launcher.setup(hydra_context=self.hydra_context, task_function=task or self.task, config=self.config)
        results = launcher.launch(list(jobs.values()), initial_job_idx=min(jobs))
        errors = {number: _error_of(result) for number, result in zip(jobs, results, strict=True)}
        return {number: error for number, error in errors.items() if error is not None}

    def whole_number(self, key: str, *, least: int) -> int:
        value = self.options[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f"hydra.launcher.{key} must be a whole number of at least {least}, not {value!r}")
        return value

    def _note_lost(self, number: int, title: str, error: Exception) -> None:
        """For a job whose worker ended before it could write a note, for example out of memory."""
        if not has_note(self.sweep, number):
            trace = write_traceback(self.sweep, number, error)
            reason = f"its worker ended: {_in_one_line(error)} (see {trace})"
            write_note(self.sweep, number, JobResult(FAILED, title, reason=reason))


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replaces an attribute for a while: Hydra's launchers give up all jobs when the first is lost."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _titles(jobs: Sequence[Job]) -> list[str]:
    """Of each job, the overrides in which it differs from the others."""
    common = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    return [" ".join(word for word in job if word not in common) or " ".join(job) for job in jobs]


def _for_workers(config: DictConfig, sweep: Path) -> DictConfig:
    """Workers compose their configuration again, perhaps in another folder: they get the sweep's folder and no
    launcher."""
    config = copy.deepcopy(config)
    overrides = [word for word in config.hydra.overrides.hydra if not re.match(r"[+~]*hydra[/.]launcher\b", word)]
    with read_write(config), open_dict(config):
        config.hydra.overrides.hydra = [*overrides, "hydra/launcher=basic", f"hydra.sweep.dir={write(str(sweep))}"]
        config.hydra.sweep.dir = str(sweep)
    return config


def _error_of(result: Any) -> Exception | None:
    if isinstance(result, JobReturn) and result.status == JobStatus.COMPLETED:
        return None
    error = result._return_value if isinstance(result, JobReturn) else result
    return error if isinstance(error, Exception) else RuntimeError(f"unknown reason: {error!r}")


def _in_one_line(error: Exception) -> str:
    cause = getattr(error, "cause", None)  # Ray wraps what a worker raised
    return one_line(cause if isinstance(cause, Exception) else error).partition(". ")[0].rstrip(" .:")
