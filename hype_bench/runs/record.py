"""What one run leaves behind: the content of ``result.json``. Imports no torch."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hype_bench.tasks.metrics import positive_class

if TYPE_CHECKING:
    from hype_bench.tasks.data import TaskData
    from hype_bench.training.loop import Outcome

_PACKAGES = ("hype-bench", "torch", "transformers", "datasets", "tokenizers", "numpy", "scikit-learn", "scipy")


def result(request: dict[str, Any], outcome: Outcome, data: TaskData, status: str, reason: str) -> Any:
    """The record of a run that is done or has diverged: what was asked for, what was found, on what machine."""
    train_seconds = outcome.seconds.get("train", 0.0)
    return {
        "status": status,
        "reason": reason,
        **request,
        "ended": now(),
        "scores": _scores(outcome),
        "classes": data.labels,
        "positive_class": positive_class(request["label"]["metric"], data.labels),
        "predictions": "predictions.csv" if outcome.evaluations else None,
        "scored_rows": {split: len(evaluation.labels) for split, evaluation in outcome.evaluations.items()},
        "test_rows": {split: len(logits) for split, logits in outcome.tests.items()},
        "curve": outcome.curve,
        "updates": outcome.updates,
        "seconds": outcome.seconds,
        "tokens": outcome.tokens,
        "tokens_per_second": outcome.tokens / train_seconds if train_seconds else None,
        "peak_memory_bytes": outcome.peak_memory,
        "machine": outcome.machine,
        "facts": outcome.facts,
        "dropped": data.dropped,
        "warnings": outcome.warnings,
        "versions": _versions(),
        "git": _git_state(),
    }


def in_words(record: dict[str, Any]) -> str:
    """``accuracy 65.34 in 41 s``: the headline score x 100 and the seconds of all phases; empty if it diverged."""
    metric = record["label"]["metric"]
    if metric not in record["scores"]:
        return ""
    return f"{metric} {100 * float(record['scores'][metric]):.2f} in {sum(record.get('seconds', {}).values()):.0f} s"


def _scores(outcome: Outcome) -> dict[str, float]:
    """Metric -> value; the first split gives the cell of a table, the others carry their name in front."""
    scores: dict[str, float] = {}
    for number, (split, evaluation) in enumerate(outcome.evaluations.items()):
        prefix = f"{split}/" if number else ""
        scores |= {prefix + name: value for name, value in evaluation.scores.items()}
    return scores


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
    return versions


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
