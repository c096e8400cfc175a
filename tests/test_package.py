"""What importing ``hype_bench`` does to a process."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

INIT = Path(__file__).resolve().parents[1] / "hype_bench" / "__init__.py"


@pytest.mark.parametrize(
    ("environment", "spins"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "20000"}, "20000"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_sleep_soon_unless_the_user_says_otherwise(
    environment: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    runpy.run_path(str(INIT))
    assert os.environ.get("GOMP_SPINCOUNT") == spins
