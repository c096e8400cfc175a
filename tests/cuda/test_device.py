"""The stand-in for a GPU keeps its promises (checks.py), in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda.guard import obstacle


def test_the_stand_in_keeps_its_promises() -> None:
    if reason := obstacle():
        pytest.skip(reason)
    script = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__).with_name("checks.py"))]
    ended = subprocess.run(script, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
