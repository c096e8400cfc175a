"""A run's identity: a hash of everything that can change its numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from hype_bench.config import RunConfig, TrainingConfig
from hype_bench.options import Affects, added_later, affecting

FORMAT = 6  # raised when a change of the code changes the numbers of the same settings

_TRAINING = affecting(TrainingConfig, Affects.IDENTITY)
_LATER = added_later(TrainingConfig)


def identity(
    run: RunConfig,
    checkpoint: str,
    data: str,
    labels: list[str],
    methods: dict[str, dict[str, Any]],
    plugins: dict[str, str],
) -> dict[str, Any]:
    """What the hash is taken of.

    Args:
        checkpoint: the checkpoint's identity (hub id, or a hash of its content, tokenizer included).
        data: the fingerprint of all texts and labels.
        labels: the names of the classes in order, which size the head and say what its outputs mean; empty for a
            regression.
        methods: name -> :func:`options_of` the technique.
        plugins: name -> the package that brings the technique and the version of its numbers; ours have ``FORMAT``.
    """
    settings = asdict(run.training)
    training = _counted({key: settings[key] for key in _TRAINING}, _LATER)
    return {
        "format": FORMAT,
        "model": checkpoint,
        "data": data,
        "labels": labels,
        "task_version": run.task.version,
        "max_length": run.data.max_length,
        "metric": run.task.metric,
        "methods": [[name, values] for name, values in methods.items()],
        "training": training,
        "seed": run.seed,
        **({"plugins": plugins} if plugins else {}),
    }


def options_of(method: Any) -> dict[str, Any]:
    """A technique's hyper-parameters, defaults included, as an identity has them."""
    return _counted(asdict(method), added_later(type(method)))


def _counted(values: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Without what came later and leaves the numbers as they were."""
    return {key: value for key, value in values.items() if key not in later or value != later[key]}


def of_analysis(
    run: dict[str, Any], name: str, options: dict[str, Any], version: int, reads: list[str]
) -> dict[str, Any]:
    """The parts of an analysis' identity: those of the run that it reads, and its own.

    Args:
        run: as :func:`identity` gives them.
        options: all of them, defaults included.
        version: of the analysis' numbers.
        reads: the fingerprints of what it reads beside the run's own data.
    """
    return {**run, "analysis": [name, options], "analysis_version": version, "reads": reads}


def digest(parts: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits; the name of the run's folder."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
