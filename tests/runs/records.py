"""Records for tests, with all that a record must have."""

from __future__ import annotations

from typing import Any


def request_of(seed: int = 3, model: str = "m", task: str = "t", method: str = "v", **label: Any) -> dict[str, Any]:
    """The content of a ``run.json``."""
    return {
        "label": {"model": model, "task": task, "method": method, "seed": seed, "metric": "accuracy"} | label,
        "parts": {"format": 2, "methods": [[method, {}]], "training": {"epochs": 3.0}, "seed": seed},
        "config": {"data": {}, "task": {"labels": ["yes", "no"]}, "training": {}},
    }


def record_of(score: Any = 0.5, seed: int = 3, **about: Any) -> dict[str, Any]:
    """The content of a ``result.json``."""
    done = {"status": "done", "reason": "", "scores": {"accuracy": score}, "seconds": {"train": 1.5}, "warnings": []}
    return {**request_of(seed, **about), **done}
