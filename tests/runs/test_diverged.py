"""A loss that is not finite ends a run as diverged: recorded, shown, counted, never averaged and never tried again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SWEEP: tuple[str, ...] = (
    "model=tiny_bert",
    "task=demo_rte",
    "tracker=none",
    "training.max_steps=3",
    "data.max_train_examples=32",
)
SWEEP = (*SWEEP, "data.max_eval_examples=16", "method=hype_n", "-m", "seed=1,2,3", "noise_scale=1e38,1e-5")


def test_diverged(warm: Any, tmp_path: Path) -> None:
    """Noise of 1e38 overflows in the first layer that squares it."""
    ended = warm(*SWEEP)
    assert ended.returncode == 0, ended.stderr
    assert "6 runs: 6 done now, 0 done before, 0 failed (3 diverged)" in ended.stdout
    assert ended.stdout.count("diverged: tiny_bert demo_rte hype_n seed") >= 3
    rows = [line for line in ended.stdout.splitlines() if line.startswith("hype_n (scale")]
    assert len(rows) == 2
    assert any(re.search(r"\d+\.\d\d ± \d+\.\d\d \(3[,)]", row) for row in rows)
    assert any("3 diverged" in row and "±" not in row for row in rows)

    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/runs/*/result.json")}
    records = [json.loads(path.read_text()) for path in files]
    diverged = [record for record in records if record["status"] == "diverged"]
    assert len(diverged) == 3
    for record in diverged:
        assert record["scores"] == {}
        assert "no longer finite" in record["reason"]
        assert record["predictions"] is None
        assert record["updates"] >= 1

    again = warm(*SWEEP)
    assert "6 runs: 0 done now, 6 done before, 0 failed (3 diverged)" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == files
    status = warm("status", program="hype_bench.cli").stdout
    assert "6 runs, 3 done, 3 diverged" in status
    assert "no longer finite" in status
