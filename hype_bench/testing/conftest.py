"""For pytest."""

from __future__ import annotations

from typing import Any


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "slow: pairs of techniques; leave them out with -m 'not slow'")
