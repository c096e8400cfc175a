"""Sweeps at one moment, as lines and as what a terminal shows live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hype_bench.output import counted, inert
from hype_bench.render.plan import duration
from hype_bench.runs.secrets import scrub
from hype_bench.sweeps.watched import Running, Sweep

_SHOWN = 12  # of the runs that are running, and of those that failed; a terminal has few lines
_NOTHING = "no run and no plan yet"


def lines(sweeps: Sequence[Sweep]) -> Iterator[str]:
    """For pipes: a line for each sweep, for each run that is running, and for each that failed."""
    for sweep in sweeps:
        yield ", ".join([f"{_name(sweep)}: {sweep.done} of {counted(sweep.total, 'run')} done", *_rest(sweep)])
        for run in sweep.running:
            yield ", ".join([f"  running  {run.title}", *_progress(run)])
        for failed in sweep.failed:
            yield f"  {failed.state:<7}  {failed.title}: {failed.reason}"
    if not sweeps:
        yield _NOTHING


def view(sweeps: Sequence[Sweep]) -> RenderableType:
    """For a terminal: bars of the sweeps, of the runs that are running, and what failed."""
    return Group(*(part for sweep in sweeps for part in _parts(sweep))) if sweeps else Text(_NOTHING)


def _parts(sweep: Sweep) -> Iterator[RenderableType]:
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(sweep.total, 1), completed=sweep.done, width=24)
    head.add_row(_text(_name(sweep), "bold"), bar, f"{sweep.done} of {sweep.total}", _text(", ".join(_rest(sweep))))
    yield head
    running = Table.grid(padding=(0, 2))
    for run in sweep.running[:_SHOWN]:
        progress = ProgressBar(total=max(run.updates, 1), completed=run.update, width=12)
        running.add_row(_text(f"  {run.title}"), progress, _text(", ".join(_progress(run)), "dim"))
    yield running
    for failed in sweep.failed[:_SHOWN]:
        words = (f"  {failed.state}  ", "bold red"), inert(scrub(f"{failed.title}: {failed.reason}"))
        yield Text.assemble(*words, no_wrap=True, overflow="ellipsis")
    hidden = {"running": len(sweep.running) - _SHOWN, "failed": len(sweep.failed) - _SHOWN}
    if more := [f"{number} more {state}" for state, number in hidden.items() if number > 0]:
        yield Text(f"  and {', '.join(more)}: hype-bench status lists them", "dim")


def _name(sweep: Sweep) -> str:
    return sweep.name or "runs of no experiment"


def _rest(sweep: Sweep) -> list[str]:
    """What there is besides the runs that are done; the time left last."""
    counts = {
        "diverged": sweep.diverged,
        "running": len(sweep.running),
        "failed": len(sweep.failed),
        "interrupted": sweep.interrupted,
    }
    words = [f"{number} {state}" for state, number in counts.items() if number]
    if sweep.seconds_left is not None:
        words.append(f"about {duration(sweep.seconds_left)} left")
    elif sweep.running:
        words.append("time left unknown")
    elif sweep.done + len(sweep.failed) < sweep.total:
        words.append("nothing is running")
    return words


def _progress(run: Running) -> list[str]:
    update = [f"update {run.update} of {run.updates}"] if run.updates else []
    return update if run.seconds is None else [*update, f"{duration(run.seconds)} so far"]


def _text(words: str, style: str = "") -> Text:
    """Names are no markup."""
    return Text(inert(scrub(words)), style)
