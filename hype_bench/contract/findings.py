"""What a technique leaves for the record and for the user."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Findings:
    """Numbers and warnings of one run.

    Attributes:
        facts: numbers for the record, such as a measured fraction.
        warnings: sentences for the record and the user, each once.
        announces: whether they are Python's warnings too: for a host that keeps no record.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    announces: bool = False

    def warn(self, sentence: str) -> None:
        if sentence in self.warnings:
            return
        self.warnings.append(sentence)
        if self.announces:
            warnings.warn(sentence, stacklevel=2)
