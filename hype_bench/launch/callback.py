"""What happens around a sweep, whichever launcher runs its jobs: the bar, the table, the exit code."""

from __future__ import annotations

import atexit
import contextlib
import math
import sys
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hype_bench.launch.arguments import values
from hype_bench.launch.complaints import complain
from hype_bench.options import UserError
from hype_bench.output import counted, say, show
from hype_bench.render.report import read_experiment, report
from hype_bench.render.text import write
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, read_named
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import NOT_BEGUN, Ended, read_all, unwritten, wait_for_others
from hype_bench.tables.table import build_tables


class SweepCallback(Callback):
    """Named in ``conf/config.yaml``; Hydra calls it in the process that started the sweep."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Counts the jobs.

        Raises:
            SystemExit: with code 2 if there is none.
        """
        with contextlib.suppress(OmegaConfBaseException):  # a ${...} that leads nowhere: Hydra says so
            atexit.register(_take_away, Path(config.hydra.sweep.dir), _missing(Path(config.hydra.sweep.dir)))
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # glob(*) looks into conf/
        typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # a ${...} stays as it is
        overrides = parser.parse_overrides(typed)
        try:
            jobs = math.prod(len(values(override)) for override in overrides if override.is_sweep_override())
        except UserError as error:  # Hydra would turn it into a warning
            complain(str(error), 2)
        display.start_sweep(jobs)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Takes away what Hydra's own sweeper writes before the first job: every override, and any secret in one."""
        if config.hydra.mode == RunMode.MULTIRUN:
            (Path(config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table of the sweep's runs and the failures.

        Raises:
            SystemExit: with code 1 if any run failed; a diverged run is a finding, not a failure.
        """
        try:
            experiment = config.experiment.name if config.experiment.grids else None
            sweep = Path(config.hydra.sweep.dir)
            ended = read_all(sweep, display.jobs + display.before)
            failures = _report(ended, Path(config.results_dir), experiment)
            unnoted = unwritten(sweep)
            if unnoted:
                how_many = f"{len(unnoted)} jobs" if len(unnoted) > 1 else "a job"
                say(scrub(f"warning: how {how_many} ended is not noted: {next(iter(unnoted.values()))}"))
        except Exception as error:  # Hydra would turn it into a warning, and the sweep would end with 0
            say(scrub(f"error: the table of this sweep cannot be made: {error!r}"), to=sys.stderr)
            raise SystemExit(1) from error
        if failures or unnoted:
            raise SystemExit(1)


def _missing(sweep: Path) -> list[Path]:
    """Which folders Hydra's own sweeper is about to make, the innermost first."""
    return [folder for folder in (sweep, *sweep.absolute().parents) if not folder.exists()]


def _take_away(sweep: Path, folders: list[Path]) -> None:
    """What is left of a sweep of which no job was begun, as one of them cannot be composed."""
    with contextlib.suppress(OSError):  # one that is not empty stays
        (sweep / "multirun.yaml").unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()


def _report(ended: list[Ended], results: Path, experiment: str | None) -> int:
    """Prints what a sweep has to show, once the runs that others are at have ended; returns how many failed."""
    ended = wait_for_others(ended, results, display.say)
    display.stop()
    say("")
    if experiment:
        show(report(read_experiment(results, experiment, "paper"), "text").text)
    else:
        names = dict.fromkeys(job.identity for job in ended if job.identity)
        show(write(build_tables(read_named(results, names))))
    failures = [job for job in ended if job.state not in (DONE, DIVERGED, NOT_BEGUN)]
    left = sum(job.state == NOT_BEGUN for job in ended)
    skipped = sum(job.skipped for job in ended)
    done = len(ended) - skipped - len(failures) - left
    counts = f"{done} done now, {skipped} done before, {len(failures)} failed"
    if left:
        counts += f", {left} not begun"
    if diverged := sum(job.state == DIVERGED for job in ended):
        counts += f" ({diverged} diverged)"
    say(f"{counted(len(ended), 'run')}: {counts}")
    by_reason: dict[str, list[str]] = {}
    for job in failures:
        by_reason.setdefault(job.reason, []).append(job.title)
    for reason, titles in by_reason.items():
        more = f" (and {len(titles) - 1} more)" if len(titles) > 1 else ""
        say(scrub(f"  failed: {titles[0]}{more}: {reason}"))
    return len(failures)
