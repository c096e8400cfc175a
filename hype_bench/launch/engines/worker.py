"""What runs in a worker; pickled by name, so that no terminal is pickled with it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from hype_bench.launch.main import job_of_sweep
from hype_bench.options import UserError
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import unwritten_notes


def work(folder: str, echo: bool, composed: DictConfig) -> float | None:
    """One job of a sweep; returns what a sweeper that searches maximises.

    Args:
        folder: where the sweep was started; relative paths start there.
        echo: whether to print a line when the job ends. The process that started the sweep prints it anyway.
        composed: the job's configuration; Hydra's own part of it is in ``HydraConfig``.

    Raises:
        UserError: its note cannot be written.
    """
    os.chdir(folder)
    score = job_of_sweep(composed, _display(echo))
    job = HydraConfig.get()
    if reason := unwritten_notes(Path(job.sweep.dir)).get(int(job.job.num)):  # only this process knows how it ended
        raise UserError(reason)
    return score


class _Lines(Display):
    """Lines and no bars, even where a worker's standard error is the user's terminal."""

    def __init__(self, echo: bool) -> None:
        super().__init__(Console(stderr=True, force_terminal=False))
        self.echo = echo

    def end_run(self, line: str) -> None:
        if self.echo:
            super().end_run(line)


_display = cache(_Lines)  # one per process, which says a warning once however many jobs it has
