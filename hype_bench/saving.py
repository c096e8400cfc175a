"""What a user reads of a technique that leaves no plain model."""

from __future__ import annotations


def no_plain_model(unmerged: str) -> str:
    """Completes a sentence that begins with the technique's name; ``unmerged``: see ``Method.unmerged``."""
    return f"leaves no plain model, since its {unmerged} cannot be merged into one"
