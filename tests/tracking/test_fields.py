"""What W&B shows of a run beside its scores: speed, seconds, memory, facts, warnings, and why it failed."""

from __future__ import annotations

from typing import Any

import pytest

from hype_bench.runs.record import Record
from hype_bench.tracking import fields
from tests.runs.records import record_of


def test_points_of_a_curve_are_grouped() -> None:
    row = {"update": 10.0, "loss": 0.5, "gradient_norm": 1.5, "accuracy": 0.7, "updates_per_second": 3.0}
    assert fields.named(row) == {
        "update": 10.0,
        "train/loss": 0.5,
        "train/gradient_norm": 1.5,
        "eval/accuracy": 0.7,
        "train/updates_per_second": 3.0,
    }


def test_a_summary_says_what_the_record_says() -> None:
    about: dict[str, Any] = {
        "reason": "the loss is not finite",
        "seconds": {"train": 2.0},
        "facts": {"kept": 0.3},
        "warnings": ["a", "b"],
    }
    about |= {"updates": 7, "git": {"commit": "abc", "changed": False}, "peak_memory_bytes": 0, "status": "diverged"}
    summary = fields.summary_of(Record.from_json({**record_of(0.5), **about}))
    assert summary == {
        "eval/accuracy": 0.5,
        "seconds/train": 2.0,
        "facts/kept": 0.3,
        "git/commit": "abc",
        "git/changed": False,
        "reason": "the loss is not finite",
        "warnings": "a; b",
        "updates": 7,
        "peak_memory_bytes": 0,
    }


def test_pace_is_that_between_two_points(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 3.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    pace = fields.Pace()
    assert pace.since_last(10, 400) == {"updates_per_second": 5.0, "tokens_per_second": 200.0}
    assert pace.since_last(10, 400) == {}  # the scores of the same update
    assert pace.since_last(20, 900) == {"updates_per_second": 2.0, "tokens_per_second": 100.0}
