"""From a run that has ended to its record. Imports no torch."""

from __future__ import annotations

import math
import platform
import subprocess
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hype_bench.plugins import installed
from hype_bench.runs.record import HELDOUT, Record, Request, Scores
from hype_bench.tasks.metrics import positive_class

if TYPE_CHECKING:
    from hype_bench.runs.measured import Measured
    from hype_bench.tasks.data import TaskData
    from hype_bench.training.loop import Outcome

_PACKAGES = ("hype-bench", "torch", "transformers", "datasets", "tokenizers", "numpy", "scikit-learn", "scipy")


def record_of(request: Request, outcome: Outcome, data: TaskData, status: str, reason: str) -> Record:
    """The record of a run that is done or has diverged: what was asked for, its scores, and on what machine."""
    train_seconds = outcome.seconds.get("train", 0.0)
    return Record(
        **{f.name: getattr(request, f.name) for f in fields(request)},
        status=status,
        reason=reason,
        ended=now(),
        scores=_scores(outcome),
        classes=data.labels,
        positive_class=positive_class(request.label.metric, data.labels),
        predictions="predictions.csv" if outcome.evaluations else None,
        scored_rows={split: len(evaluation.labels) for split, evaluation in outcome.evaluations.items()},
        test_rows={split: len(logits) for split, logits in outcome.tests.items()},
        curve=outcome.curve,
        updates=outcome.updates,
        seconds=outcome.seconds,
        tokens=outcome.tokens,
        tokens_per_second=outcome.tokens / train_seconds if train_seconds else None,
        peak_memory_bytes=outcome.peak_memory,
        machine=outcome.machine,
        facts=outcome.facts,
        subset=data.subset,
        absent=data.absent,
        dropped=data.dropped,
        warnings=outcome.warnings,
        versions=_versions(),
        git=_git_state(),
    )


def record_of_analysis(request: Request, measured: Measured, status: str, reason: str, **about: Any) -> Record:
    """The record of an analysis.

    Args:
        about: further fields of the record: machine, seconds and the like.
    """
    finite = {
        split: {metric: value if math.isfinite(value) else math.nan for metric, value in scores.items()}
        for split, scores in measured.scores.items()
    }
    first, *further = finite.items() or [("", {})]
    return Record(
        **{f.name: getattr(request, f.name) for f in fields(request)},
        status=status,
        reason=reason,
        ended=now(),
        scores=Scores(first[1], dict(further)),
        classes=measured.classes,
        predictions="predictions.csv" if measured.evaluations else None,
        scored_rows={split: measured.rows.get(split, 0) for split in finite},
        facts=measured.facts,
        subset=measured.subset,
        absent=measured.absent,
        warnings=measured.warnings,
        versions=_versions(),
        git=_git_state(),
        **about,
    )


def _scores(outcome: Outcome) -> Scores:
    """The first split that was scored gives the cell of a table."""
    by_split = {split: evaluation.scores for split, evaluation in outcome.evaluations.items()}
    heldout = by_split.pop(HELDOUT, {})
    first, *further = by_split.items() or [("", {})]
    return Scores(first[1], dict(further), heldout)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions | {plugin.package: plugin.version for plugin in installed()}


@cache
def _git_state() -> dict[str, Any] | None:
    """Commit of this checkout and whether it was changed since; None outside a checkout."""
    where = Path(__file__).resolve().parents[2]
    if not (where / ".git").exists():  # installed: the repository around it, if any, is another one
        return None

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", *words]
        return subprocess.run(command, cwd=where, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
