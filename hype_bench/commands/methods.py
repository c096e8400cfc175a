"""``hype-bench methods``: every technique in a line each, or one of them in full."""

from __future__ import annotations

import inspect
import sys
from typing import Annotated

import typer

from hype_bench.options import UserError
from hype_bench.output import say, show


def methods(name: Annotated[str | None, typer.Argument(help="Show the documentation of this one.")] = None) -> None:
    """Every technique, with one line on what it does."""
    from hype_bench.contract.registry import cards, described, import_plugins  # seconds: torch comes with it

    techniques = described()
    if name is None:
        for known, card in cards().items():
            say(f"{known:<20}{card.summary}")
    elif name in techniques:
        show(inspect.getdoc(techniques[name]) or "")
    else:
        raise UserError(f"there is no method {name!r}; there are {', '.join(techniques)}")
    for problem in import_plugins().values():
        say(f"warning: {problem}", to=sys.stderr)
