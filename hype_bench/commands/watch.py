"""``hype-bench watch``: a sweep, live."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.output import say

if TYPE_CHECKING:
    from hype_bench.sweeps.watched import Watcher

_SECONDS = 1.0  # between two looks, and at least as long as four of them take


def watch(
    experiment: Annotated[str | None, typer.Argument(help="Such as table1; without one, everything.")] = None,
    results_dir: ResultsDir = Path("results"),
    once: Annotated[bool, typer.Option("--once", help="Print it once, as lines; so does a pipe.")] = False,
) -> None:
    """A sweep, live: what is done, running and failed, and the time left.

    It only reads, from this machine or another one, and ends with Ctrl-C.
    """
    from hype_bench.render.watch import lines
    from hype_bench.runs.secrets import scrub
    from hype_bench.sweeps.watched import Watcher

    watcher = Watcher(existing(results_dir), experiment)
    if once or not sys.stdout.isatty():
        say(*map(scrub, lines(watcher.look())))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _live(watcher)


def _live(watcher: Watcher) -> None:
    from rich.live import Live

    from hype_bench.render.watch import view

    with Live(view(watcher.look()), auto_refresh=False) as live:
        while True:
            before = time.monotonic()
            live.update(view(watcher.look()), refresh=True)
            time.sleep(max(_SECONDS, 4 * (time.monotonic() - before)))
