"""What all tests share: an environment without network and with one thread, the parity numbers, a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ |= {
    "OMP_NUM_THREADS": "1",  # two test processes with two threads each wait for one another
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "HYPE_BENCH_CACHE": os.environ.get("HYPE_BENCH_TEST_CACHE", str(Path(tempfile.gettempdir()) / "hype_bench_tests")),
}
DATA_ROOT = os.environ.pop("HYPE_BENCH_DATA", None)

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def parity() -> Callable[[str], Any]:
    """The numbers of a published implementation, by name."""
    return lambda name: json.loads((ROOT / "tests" / "parity" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    if DATA_ROOT is None or not Path(DATA_ROOT).is_dir():
        pytest.skip("HYPE_BENCH_DATA is not set: no real data")
    return Path(DATA_ROOT)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs ``python run.py ...`` (or another program of the project) in a temporary folder."""

    def run(*arguments: str, program: str = "run.py", env: dict[str, str] | None = None, timeout: float = 240) -> Any:
        script = [str(ROOT / program)] if program.endswith(".py") else ["-m", program]
        return subprocess.run(
            [sys.executable, *script, *arguments],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
