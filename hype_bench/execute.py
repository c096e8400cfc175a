"""From a composed configuration to a record on disk: the one place where all folders of the package meet."""

from __future__ import annotations

import csv
import io
import platform
import subprocess
import traceback
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hype_bench.config import RunConfig, UserError, resolve
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.identity import digest, identity
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, FAILED, RUNNING
from hype_bench.sweeps.display import Display


@dataclass(frozen=True)
class Ended:
    """How one job ended. ``state`` as in ``runs.status``; ``skipped``: its record was there before."""

    state: str
    title: str
    identity: str = ""
    reason: str = ""
    skipped: bool = False


def execute(composed: DictConfig, display: Display) -> Ended:
    """Runs one job unless its record exists, and leaves a record or a traceback.

    Raises:
        UserError: the configuration, the data, the model or the results folder is not as it must be.
    """
    from hype_bench.methods.registry import build
    from hype_bench.models.checkpoint import family_of, locate
    from hype_bench.tasks.data import load
    from hype_bench.training.device import choose_device

    OmegaConf.set_readonly(composed, False)
    composed.model.family = family_of(OmegaConf.to_object(composed.model))  # type: ignore[arg-type]
    run = resolve(composed)
    methods = build(run.methods)
    choose_device(run.device, run.training.precision)
    checkpoint = locate(run.model)
    data = load(run.task, run.data)
    values = {name: asdict(method) for name, method in zip(run.methods, methods, strict=True)}  # type: ignore[call-overload]
    parts = identity(run, checkpoint.identity, data.fingerprint, values)
    folder = RunFolder.of(run.results_dir, digest(parts))
    label = {
        "model": checkpoint.name,
        "task": run.task.name,
        "method": "+".join(run.methods),
        "seed": run.seed,
        "metric": run.task.metric,
        "generated": run.task.generated,
        "experiment": run.experiment,
    }
    title = f"{label['model']} {label['task']} {label['method']} seed {run.seed}"
    if (record := _done(folder, display)) is not None:
        return Ended(str(record["status"]), title, folder.path.name, skipped=True)
    try:
        lock = folder.lock()
    except BusyError:
        return Ended(RUNNING, title, folder.path.name, "another process is at it")
    try:
        if (record := _done(folder, display)) is not None:  # done while we were getting ready
            return Ended(str(record["status"]), title, folder.path.name, skipped=True)
        request = {"label": label, "parts": parts, "config": run.as_dict(), "started": _now()}
        return _run(run, data, checkpoint, methods, folder, request, title, display)
    finally:
        lock.release()


def _done(folder: RunFolder, display: Display) -> dict[str, Any] | None:
    try:
        return folder.result()
    except UserError as error:
        display.say(f"warning: {error}")
        return None


def _run(
    run: RunConfig,
    data: Any,
    checkpoint: Any,
    methods: list[Any],
    folder: RunFolder,
    request: dict[str, Any],
    title: str,
    display: Display,
) -> Ended:
    from hype_bench.tracking.tracker import start
    from hype_bench.training.loop import DivergedError, Outcome, fine_tune

    try:
        folder.begin(request)
    except OSError as error:
        raise UserError(f"the results folder cannot be written to: {error}") from error
    outcome = Outcome(warnings=list(data.warnings))
    tracker = start(run, folder.path.name, request["label"], outcome.warnings)
    display.start_run(title)

    def on_log(row: dict[str, float], total: int) -> None:
        display.update(row, total)
        tracker.log(row)

    status, reason = DONE, ""
    try:
        save_to = folder.path / "model" if run.training.save == "last" else None
        fine_tune(run, data, checkpoint, methods, outcome, on_log, save_to)
        if outcome.evaluations:
            folder.write("predictions.csv", _predictions(outcome))
    except DivergedError as error:
        status, reason = DIVERGED, str(error)
    except BaseException as error:
        return _failed(error, folder, tracker, title)
    record = _record(request, run, outcome, status, reason)
    record["dropped"] = data.dropped
    try:
        folder.write_json("result.json", record)
    except OSError as error:
        return _failed(error, folder, tracker, title)
    tracker.finish(record["scores"], status)
    for warning in outcome.warnings:
        display.say(f"warning: {title}: {warning}")
    return Ended(status, title, folder.path.name, reason)


def _failed(error: BaseException, folder: RunFolder, tracker: Any, title: str) -> Ended:
    """Leaves the traceback beside the run; an interrupt goes on to end the sweep."""
    tracker.finish({}, FAILED)
    if not isinstance(error, Exception):
        raise error
    reason = scrub((str(error).strip().splitlines() or [""])[0] or type(error).__name__)
    try:
        folder.write("failure.txt", "".join(traceback.format_exception(error)))
        reason += f" (traceback: {folder.path / 'failure.txt'})"
    except OSError as full:
        reason += f" (its traceback could not be written: {full})"
    return Ended(FAILED, title, folder.path.name, reason)


def _record(request: dict[str, Any], run: RunConfig, outcome: Any, status: str, reason: str) -> dict[str, Any]:
    scores: dict[str, float] = {}
    for number, (split, evaluation) in enumerate(outcome.evaluations.items()):
        prefix = f"{split}/" if number else ""  # the first split gives the cell of a table
        scores |= {prefix + name: value for name, value in evaluation.scores.items()}
    train_seconds = outcome.seconds.get("train", 0.0)
    return {
        "status": status,
        "reason": reason,
        **request,
        "ended": _now(),
        "scores": scores,
        "predictions": "predictions.csv" if outcome.evaluations else None,
        "curve": outcome.curve,
        "updates": outcome.updates,
        "seconds": outcome.seconds,
        "tokens": outcome.tokens,
        "tokens_per_second": outcome.tokens / train_seconds if train_seconds else None,
        "peak_memory_bytes": outcome.peak_memory,
        "machine": outcome.machine,
        "facts": outcome.facts,
        "warnings": outcome.warnings,
        "versions": _versions(),
        "git": _git_state(),
    }


def _predictions(outcome: Any) -> str:
    """split, index in data order, label, prediction, one logit per output."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    width = next(iter(outcome.evaluations.values())).logits.shape[1]
    writer.writerow(["split", "index", "label", "prediction", *(f"logit_{i}" for i in range(width))])
    for split, evaluation in outcome.evaluations.items():
        rows = zip(evaluation.labels.tolist(), evaluation.predictions.tolist(), evaluation.logits.tolist(), strict=True)
        for index, (label, prediction, logits) in enumerate(rows):
            writer.writerow([split, index, label, prediction, *(f"{value:.9g}" for value in logits)])
    return text.getvalue()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("hype-bench", "torch", "transformers", "datasets", "tokenizers", "numpy", "scikit-learn", "scipy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


@cache
def _git_state() -> dict[str, Any] | None:
    """Commit of this checkout and whether it was changed since; None outside a checkout."""

    def git(*words: str) -> str:
        where = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
