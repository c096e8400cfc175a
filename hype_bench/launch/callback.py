"""What happens around a sweep with any launcher: the progress bar, the table, the exit code."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hype_bench.launch.arguments import swept_values
from hype_bench.launch.errors import fail
from hype_bench.launch.main import check_scope
from hype_bench.launch.variation import note_what_varies
from hype_bench.options import UserError
from hype_bench.output import counted, say, show
from hype_bench.render.report import read_experiment, report
from hype_bench.render.text import write
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, read_named
from hype_bench.sweeps.display import display
from hype_bench.sweeps.outcomes import NOT_STARTED, JobResult, read_all_notes, unwritten_notes, wait_for_others
from hype_bench.sweeps.planned import plan_key
from hype_bench.tables.table import build_tables


class SweepCallback(Callback):
    """Named in ``conf/config.yaml``; Hydra calls it in the process that started the sweep."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Counts the jobs.

        Raises:
            SystemExit: with code 2 if there are none, or if a scope or a rule for seeds does not apply to the sweep.
        """
        check_scope(config)
        if _is_optuna(config):
            _check_search(config)
        if config.experiment.seeds.until and config.hydra.runtime.choices["hydra/sweeper"] != "grids":
            fail("experiment.seeds.until=decided needs hydra/sweeper=grids; seed=auto sets both", 2)
        with contextlib.suppress(OmegaConfBaseException):  # an unresolvable ${...}, which Hydra reports
            atexit.register(_remove_leftovers, Path(config.hydra.sweep.dir), _missing(Path(config.hydra.sweep.dir)))
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # glob(*) reads conf/
        typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # a ${...} stays as it is
        overrides = parser.parse_overrides(typed)
        try:
            jobs = _number_of_jobs(config, overrides)
        except UserError as error:  # Hydra would turn it into a warning
            fail(str(error), 2)
        swept = [each.get_key_element() for each in overrides if each.is_sweep_override()]
        note_what_varies(config, [each.get_key_element() for each in overrides], swept)
        display.start_sweep(jobs)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Removes what Hydra's own sweeper writes before the first job: every override, with any secret in it."""
        if config.hydra.mode == RunMode.MULTIRUN:
            (Path(config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Prints the table of the sweep's runs and the failures.

        Raises:
            SystemExit: with code 1 if any run failed; a diverged run is a result, not a failure.
        """
        try:
            experiment = plan_key(config.experiment.name, config.scope.name) if config.experiment.grids else None
            sweep = Path(config.hydra.sweep.dir)
            jobs = read_all_notes(sweep, display.jobs + display.before)
            failures = _report(jobs, Path(config.results_dir), experiment)
            if best := _best_trial(sweep):
                say(best)
            unwritten = unwritten_notes(sweep)
            if unwritten:
                reason = next(iter(unwritten.values()))
                say(scrub(f"warning: the notes of {counted(len(unwritten), 'job')} could not be written: {reason}"))
        except Exception as error:  # Hydra would turn it into a warning, and the sweep would end with 0
            say(scrub(f"error: the table of this sweep cannot be made: {error!r}"), to=sys.stderr)
            raise SystemExit(1) from error
        if failures or unwritten:
            raise SystemExit(1)


def _is_optuna(config: DictConfig) -> bool:
    return bool(config.hydra.runtime.choices["hydra/sweeper"] == "optuna")


def _check_search(config: DictConfig) -> None:
    """Exits with code 2 if Optuna is not installed, or would have to choose by the split that is reported."""
    if find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        fail("hydra/sweeper=optuna needs more packages: pip install 'hype-bench[optuna]'", 2)
    if not config.data.selection_examples:
        fail("hydra/sweeper=optuna chooses on training examples set aside: add data.selection_examples=200", 2)
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)


def _number_of_jobs(config: DictConfig, overrides: Sequence[Override]) -> int:
    """Raises UserError if a sweep has no values."""
    if _is_optuna(config):
        return int(config.hydra.sweeper.n_trials)
    return math.prod(len(swept_values(override)) for override in overrides if override.is_sweep_override())


def _best_trial(sweep: Path) -> str:
    """What a search has chosen, as Hydra's sweeper leaves it; empty after any other sweep."""
    try:
        best = OmegaConf.load(sweep / "optimization_results.yaml")
    except OSError:
        return ""
    params = " ".join(f"{key}={value}" for key, value in best.best_params.items())
    return f"best on the examples set aside: {params}: {100 * best.best_value:.2f}"


def _missing(sweep: Path) -> list[Path]:
    """The folders that Hydra's own sweeper is about to make, innermost first."""
    return [folder for folder in (sweep, *sweep.absolute().parents) if not folder.exists()]


def _remove_leftovers(sweep: Path, folders: list[Path]) -> None:
    """Removes what a sweep leaves if no job starts, because one of them cannot be composed."""
    with contextlib.suppress(OSError):  # a folder that is not empty stays
        (sweep / "multirun.yaml").unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()


def _report(jobs: list[JobResult], results_dir: Path, experiment: str | None) -> int:
    """Prints the outcome of a sweep, after runs that other processes hold have ended; returns how many failed."""
    jobs = wait_for_others(jobs, results_dir, display.say)
    display.stop()
    say("")
    if experiment:
        show(report(read_experiment(results_dir, experiment, "paper"), "text").text)
    else:
        names = dict.fromkeys(job.identity for job in jobs if job.identity)
        show(write(build_tables(read_named(results_dir, names))))
    failures = [job for job in jobs if job.state not in (DONE, DIVERGED, NOT_STARTED)]
    not_started = sum(job.state == NOT_STARTED for job in jobs)
    skipped = sum(job.skipped for job in jobs)
    done = len(jobs) - skipped - len(failures) - not_started
    counts = f"{done} done now, {skipped} done before, {len(failures)} failed"
    if not_started:
        counts += f", {not_started} not started"
    if diverged := sum(job.state == DIVERGED for job in jobs):
        counts += f" ({diverged} diverged)"
    say(f"{counted(len(jobs), 'run')}: {counts}")
    by_reason: dict[str, list[str]] = {}
    for job in failures:
        by_reason.setdefault(job.reason, []).append(job.title)
    for reason, titles in by_reason.items():
        more = f" (and {len(titles) - 1} more)" if len(titles) > 1 else ""
        say(scrub(f"  failed: {titles[0]}{more}: {reason}"))
    return len(failures)
