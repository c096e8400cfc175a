"""Keeps keys and tokens out of records, logs and tables."""

from __future__ import annotations

import os
import re

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 8


def scrub(text: str) -> str:
    """Replaces the value of every environment variable that is named like a secret."""
    for name, value in os.environ.items():
        if _NAMES.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, f"<{name}>")
    return text
