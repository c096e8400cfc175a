"""What ``run.py`` starts: Hydra composes, :mod:`execute` runs, every complaint is one line."""

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
from hype_bench.launch.arguments import arrange
from hype_bench.launch.complaints import complain, composing, one_line, told_in_one_line
from hype_bench.launch.execute import execute
from hype_bench.launch.own_conf import with_own_conf
from hype_bench.output import show, speak_any_encoding
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, FAILED
from hype_bench.sweeps.display import Display, display
from hype_bench.sweeps.outcomes import NOT_BEGUN, Ended, keep_traceback, note, read


def main() -> None:
    """Entry point of ``run.py``.

    Exits with 0 if every run is done or diverged, 1 if one failed or is another process's, 2 if none was begun: a
    mistake on the command line, in the data or in the results folder.
    """
    speak_any_encoding()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us instead of being printed over many lines
    with complaining():
        sys.argv[1:] = arrange(with_own_conf(sys.argv[1:]))
        _hydra_main()


@contextlib.contextmanager
def complaining() -> Iterator[None]:
    """Every complaint in one line, with its exit code."""
    try:
        with composing():
            yield
    except UserError as error:
        complain(str(error), 2)
    except OSError as error:
        complain(": ".join(str(part) for part in (error.strerror or error, error.filename) if part), 1)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here", 130)
    finally:
        display.stop()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(composed: DictConfig) -> None:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        job_of_sweep(composed, display)
        return
    if (launcher := str(HydraConfig.get().runtime.choices["hydra/launcher"])) != "basic":
        complain(f"hydra/launcher={launcher} is for sweeps: add -m", 2)
    for group, stands_for in (("experiment", composed.experiment.grids), ("scope", composed.scope.axes)):
        if stands_for:
            complain(f"{group}={composed[group].name} stands for several runs: add -m to run them", 2)
    run_alone(composed)


def run_alone(composed: DictConfig) -> Ended:
    """One run, and the line about it. Exits as :func:`main` does."""
    try:
        ended = execute(composed, display)
    except UserError as error:  # here, or Hydra adds lines of its own
        complain(str(error), 2)
    except Exception:
        display.stop()
        show(scrub(traceback.format_exc()), to=sys.stderr)
        raise SystemExit(1) from None
    if ended.state not in (DONE, DIVERGED):
        complain(f"{ended.title}: {ended.reason}", 1)
    display.end_run(line_of(ended))
    return ended


def job_of_sweep(composed: DictConfig, display: Display) -> None:
    """One job; whatever happens is noted, and the other jobs go on."""
    speak_any_encoding()  # an engine begins jobs in processes of its own
    job = HydraConfig.get()
    folder, number = Path(job.sweep.dir), int(job.job.num)
    title = " ".join(job.overrides.task) or "default"
    try:
        with told_in_one_line():
            stops = bool(composed.fail_fast) and any(ended.state == FAILED for ended in read(folder).values())
        if stops:
            reason = "an earlier run failed and the sweep was to stop there"
            note(folder, number, Ended(NOT_BEGUN, title, reason=reason))
            return
        ended = execute(composed, display)
    except UserError as error:
        ended = Ended(FAILED, title, reason=str(error))
    except Exception as error:  # whatever it is, the other jobs go on
        trace = keep_traceback(folder, number, error)
        ended = Ended(FAILED, title, reason=f"{one_line(error)} (traceback: {trace})")
    display.end_run(line_of(ended))
    note(folder, number, ended)


def line_of(ended: Ended) -> str:
    how = f"{ended.state} before" if ended.skipped else ended.state
    return ": ".join(part for part in (how, ended.title, ended.found, ended.reason) if part)
