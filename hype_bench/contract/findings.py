"""What a technique leaves for the record and for the user."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

_LOGGER = logging.getLogger("hype_bench")


@dataclass
class Findings:
    """Numbers and warnings of one run.

    Attributes:
        facts: numbers for the record, such as a measured fraction.
        warnings: sentences for the record and the user, each once.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def log_warnings(self) -> None:
        """For a host that keeps no record."""
        for sentence in self.warnings:
            _LOGGER.warning(sentence)
