"""What ``run.py`` starts: Hydra composes, :mod:`execute` runs, every error is one line."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from hype_bench.config import CONF as CONF
from hype_bench.config import UserError
from hype_bench.launch.arguments import in_hydra_order
from hype_bench.launch.errors import composition_errors, fail, one_line, value_errors
from hype_bench.launch.execute import execute
from hype_bench.launch.user_conf import with_user_conf
from hype_bench.output import show, speak_any_encoding
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, FAILED
from hype_bench.sweeps.display import Display, display
from hype_bench.sweeps.outcomes import NOT_STARTED, JobResult, read_notes, write_note, write_traceback


def main() -> None:
    """Entry point of ``run.py``.

    Exits with 0 if every run is done or diverged, 1 if one failed or another process holds it, 2 if none was started: a
    mistake on the command line, in the data or in the results folder.
    """
    speak_any_encoding()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us instead of being printed over many lines
    with one_line_errors():
        sys.argv[1:] = in_hydra_order(with_user_conf(sys.argv[1:]))
        _hydra_main()


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Every error is one line with its exit code."""
    try:
        with composition_errors():
            yield
    except UserError as error:
        fail(str(error), 2)
    except OSError as error:
        fail(": ".join(str(part) for part in (error.strerror or error, error.filename) if part), 1)
    except KeyboardInterrupt:
        fail("interrupted; the same command resumes from here", 130)
    finally:
        display.stop()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(composed: DictConfig) -> float | None:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return job_of_sweep(composed, display)
    if (launcher := str(HydraConfig.get().runtime.choices["hydra/launcher"])) != "basic":
        fail(f"hydra/launcher={launcher} is for sweeps: add -m", 2)
    if composed.experiment.grids:
        fail(f"experiment={composed.experiment.name} stands for several runs: add -m to run them", 2)
    check_scope(composed)
    if composed.experiment.seeds.until:
        fail("seed=auto stands for several runs: add -m to run them", 2)
    result = run_alone(composed)  # first: it reports a results_dir that cannot be resolved
    return selection_score(composed.results_dir, result)


def selection_score(results_dir: str, result: JobResult) -> float | None:
    """What sweepers that search maximise: the run's score on the training examples that were set aside, as a fraction.

    None without such examples: a choice by the split that is reported would flatter it.
    """
    record = RunFolder.of(results_dir, result.identity).result() if result.state == DONE else None
    return None if record is None else record.scores.heldout.get(record.label.metric)


def check_scope(composed: DictConfig) -> None:
    """Exits with code 2 if a scope was chosen without an experiment that it could narrow."""
    if composed.scope.axes and not composed.experiment.grids:
        fail(f"scope={composed.scope.name} narrows an experiment: choose one, as in -m experiment=table1", 2)


def run_alone(composed: DictConfig) -> JobResult:
    """One run, and the line about it; exits as :func:`main` does."""
    try:
        result = execute(composed, display)
    except UserError as error:  # caught here, or Hydra adds lines
        fail(str(error), 2)
    except Exception:
        display.stop()
        show(scrub(traceback.format_exc()), to=sys.stderr)
        raise SystemExit(1) from None
    if result.state not in (DONE, DIVERGED):
        fail(f"{result.title}: {result.reason}", 1)
    display.end_run(result_line(result))
    return result


def job_of_sweep(composed: DictConfig, display: Display) -> float | None:
    """One job of a sweep; whatever happens is noted, and the other jobs go on. Returns its :func:`selection_score`."""
    speak_any_encoding()  # engines start jobs in their own processes
    job = HydraConfig.get()
    folder, number = Path(job.sweep.dir), int(job.job.num)
    title = " ".join(job.overrides.task) or "default"
    try:
        with value_errors():
            stops = bool(composed.fail_fast) and any(result.state == FAILED for result in read_notes(folder).values())
        if stops:
            reason = "an earlier run failed, and --fail-fast stops the sweep"
            write_note(folder, number, JobResult(NOT_STARTED, title, reason=reason))
            return None
        result = execute(composed, display)
    except UserError as error:
        result = JobResult(FAILED, title, reason=str(error))
    except Exception as error:  # whatever it is, the other jobs go on
        trace = write_traceback(folder, number, error)
        result = JobResult(FAILED, title, reason=f"{one_line(error)} (traceback: {trace})")
    display.end_run(result_line(result))
    write_note(folder, number, result)
    return selection_score(composed.results_dir, result)


def result_line(result: JobResult) -> str:
    how = f"{result.state} before" if result.skipped else result.state
    return ": ".join(part for part in (how, result.title, result.summary, result.reason) if part)
