"""What a run tells its tracker, under names that a dashboard groups: ``train/``, ``eval/``, ``seconds/``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hype_bench.runs.record import Record

_OF_TRAINING = ("loss", "learning_rate", "gradient_norm", "updates_per_second", "tokens_per_second")


def named(row: Mapping[str, float]) -> dict[str, float]:
    """A point of the curve: ``update`` as it is, what training measures as ``train/loss``, a score as ``eval/f1``."""
    return {name if name == "update" else _prefixed(name): value for name, value in row.items()}


def score_name(metric: str) -> str:
    return f"eval/{metric}"


def summary_of(record: Record) -> dict[str, Any]:
    """What the table of all runs shows of one that has ended; what it does not have is left out."""
    about: dict[str, Any] = {score_name(name): value for name, value in record.scores.to_json().items()}
    about |= {f"seconds/{phase}": seconds for phase, seconds in record.seconds.items()}
    about |= {f"facts/{name}": value for name, value in record.facts.items()}
    about |= {f"git/{name}": value for name, value in (record.git or {}).items()}
    about |= {
        "reason": record.reason,
        "warnings": "; ".join(record.warnings),
        "updates": record.updates,
        "train/tokens_per_second": record.tokens_per_second,
        "peak_memory_bytes": record.peak_memory_bytes,
    }
    return {name: value for name, value in about.items() if value not in (None, "")}


@dataclass
class Pace:
    """Updates and tokens per second between two points of a curve."""

    last: tuple[float, float, float] = field(default_factory=lambda: (time.perf_counter(), 0.0, 0.0))

    def since_last(self, updates: float, tokens: float) -> dict[str, float]:
        now = time.perf_counter()
        seconds, done, read = (new - old for new, old in zip((now, updates, tokens), self.last, strict=True))
        if done <= 0 or seconds <= 0:  # scores of the update before
            return {}
        self.last = now, updates, tokens
        return {"updates_per_second": done / seconds, "tokens_per_second": read / seconds}


def _prefixed(name: str) -> str:
    return f"train/{name}" if name in _OF_TRAINING else score_name(name)
