"""What runs in a worker; pickled by name, so that a worker imports it instead of being sent a terminal's bars."""

from __future__ import annotations

import os
from functools import cache

from omegaconf import DictConfig
from rich.console import Console

from hype_bench.main import job_of_sweep
from hype_bench.sweeps.display import Display


def work(folder: str, echo: bool, composed: DictConfig) -> None:
    """One job of a sweep.

    Args:
        folder: where the sweep was started; relative paths are meant from there.
        echo: whether a line says how the job ended. The process that started the sweep says it anyway.
        composed: the job's configuration; Hydra's own part of it is in ``HydraConfig``.
    """
    os.chdir(folder)
    job_of_sweep(composed, _display(echo))


class _Plain(Display):
    """Lines and no bars, even where a worker's standard error is the user's terminal."""

    def __init__(self, echo: bool) -> None:
        super().__init__(Console(stderr=True, force_terminal=False))
        self.echo = echo

    def end_run(self, line: str) -> None:
        if self.echo:
            super().end_run(line)


_display = cache(_Plain)  # one per process, which says a warning once however many jobs it has
