"""``hype-bench methods``: every technique, in a line each."""

from __future__ import annotations

from hype_bench.output import say


def methods() -> None:
    """Every technique, with one line on what it does."""
    from hype_bench.contract.registry import cards  # seconds: torch comes with it

    for name, card in cards().items():
        say(f"{name:<20}{card.summary}")
