"""What ``run.py`` starts: Hydra composes, :mod:`execute` runs, every complaint is one line."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hype_bench.config import CONF as CONF
from hype_bench.config import Config, UserError
from hype_bench.execute import execute
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, FAILED
from hype_bench.sweeps.arguments import check_flags, flags_first
from hype_bench.sweeps.display import Display, display
from hype_bench.sweeps.outcomes import NOT_BEGUN, Ended, keep_traceback, note, read
from hype_bench.sweeps.own_conf import with_own_conf

COMPLAINTS = (HydraException, OmegaConfBaseException, ValueError, AssertionError)  # about what cannot be composed


def main() -> None:
    """Entry point of ``run.py``.

    Exits with 0 if every run is done or diverged, 1 if one failed or is another process's, 2 if none was begun: a
    mistake on the command line, in the data or in the results folder.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us instead of being printed over many lines
    with complaining():
        arguments = flags_first(with_own_conf(sys.argv[1:]))
        sys.argv[1:] = ["fail_fast=true" if word == "--fail-fast" else word for word in arguments]
        check_flags(sys.argv[1:])
        _hydra_main()


@contextlib.contextmanager
def complaining() -> Iterator[None]:
    """Every complaint in one line, with its exit code."""
    try:
        yield
    except COMPLAINTS as error:
        _complain(one_line(error), 2)
    except OSError as error:
        _complain(": ".join(str(part) for part in (error.strerror or error, error.filename) if part), 1)
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on from here", 130)
    finally:
        display.stop()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(composed: DictConfig) -> None:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        job_of_sweep(composed, display)
        return
    if (launcher := str(HydraConfig.get().runtime.choices["hydra/launcher"])) != "basic":
        _complain(f"hydra/launcher={launcher} is for sweeps: add -m", 2)
    run_alone(composed)


def run_alone(composed: DictConfig) -> None:
    """One run, and the line about it. Exits as :func:`main` does."""
    try:
        ended = execute(composed, display)
    except UserError as error:  # here, or Hydra adds lines of its own
        _complain(str(error), 2)
    except Exception:
        display.stop()
        print(scrub(traceback.format_exc()), file=sys.stderr)
        raise SystemExit(1) from None
    if ended.state not in (DONE, DIVERGED):
        _complain(f"{ended.title}: {ended.reason}", 1)
    display.end_run(line_of(ended))


def job_of_sweep(composed: DictConfig, display: Display) -> None:
    """One job; whatever happens is noted, and the other jobs go on."""
    job = HydraConfig.get()
    folder, number = Path(job.sweep.dir), int(job.job.num)
    title = " ".join(job.overrides.task) or "default"
    if composed.fail_fast and any(ended.state == FAILED for ended in read(folder).values()):
        note(folder, number, Ended(NOT_BEGUN, title, reason="an earlier run failed and the sweep was to stop there"))
        return
    try:
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


def one_line(error: Exception) -> str:
    """Hydra's and OmegaConf's complaints without their tails, with the nearest key where one is misspelt."""
    text = str(error.__cause__ or error) if "Error merging" in str(error) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; write key=value, in quotes where the shell would change it"
    if options := re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]*)'", text):
        group, wrong = options.groups()
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return f"there is no {group} {wrong!r}{_nearest(wrong, known)}; there are {', '.join(known)}"
    if key := re.search(r"Could not override '([^']+)'", text):
        groups = [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"]
        known = [*groups, *_keys(OmegaConf.structured(Config)), *_method_keys()]
        return f"there is no key {key[1]!r}{_nearest(key[1], known)}"
    full_key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key:")), "")
    first = lines[0] if lines else type(error).__name__
    return f"{full_key}: {first}" if full_key and full_key not in first else first


def _nearest(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in map(str, node):
        value = None if OmegaConf.is_missing(node, key) else node[key]
        name = f"{prefix}{key}"
        keys += _keys(value, f"{name}.") if isinstance(value, DictConfig) and value else [name]
    return keys


def _method_keys() -> list[str]:
    files = sorted((CONF / "method").glob("*.yaml"))
    return [f"method.{path.stem}.{key}" for path in files for key in map(str, OmegaConf.load(path))]


def _complain(sentence: str, code: int) -> NoReturn:
    display.stop()
    print(f"error: {scrub(sentence)}", file=sys.stderr)
    raise SystemExit(code)
