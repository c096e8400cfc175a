"""What the user sees while runs go on: one bar for the sweep and one for the run; plain lines outside a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hype_bench.output import inert, say
from hype_bench.runs.secrets import scrub


class Display:
    """Progress on standard error if that is a terminal; finished runs as lines on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self.progress: Progress | None = None
        if console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
        self.sweep: Any = None
        self.run: Any = None
        self.jobs = self.before = self.ended = 0
        self.warned: set[str] = set()

    def start_sweep(self, jobs: int, before: int = 0) -> None:
        """``before``: how many more belong to the sweep and are done."""
        self.jobs, self.before, self.ended = jobs, before, 0
        if self.progress:
            self.progress.start()
            if self.sweep is not None:  # counted before, and now known better
                self.progress.remove_task(self.sweep)
            self.sweep = self.progress.add_task("sweep", total=jobs, note="runs")

    def start_run(self, title: str) -> None:
        if self.progress:
            self.progress.start()
            if self.run is not None:  # an analysis trains its run first
                self.progress.remove_task(self.run)
            self.run = self.progress.add_task(inert(title), total=None, note="")

    def update(self, row: dict[str, float], total: int) -> None:
        if self.progress and self.run is not None and "loss" in row:
            seconds = self.progress.tasks[self.progress.task_ids.index(self.run)].elapsed or 0.0
            rate = row["update"] / seconds if seconds else 0.0
            note = f"loss {row['loss']:.4f}  {rate:.1f} updates/s"
            self.progress.update(self.run, completed=row["update"], total=total, note=note)

    def show_progress(self, what: str, done: int, total: int | None) -> None:
        """How far something is that a run does before its first update."""
        if self.progress and self.run is not None:
            self.progress.update(self.run, completed=done, total=total, note=what)

    def end_run(self, line: str) -> None:
        """Takes the run's bar away, moves the sweep's on, and leaves a line."""
        self.ended += 1
        if self.progress:
            if self.run is not None:
                self.progress.remove_task(self.run)
                self.run = None
            if self.sweep is not None:
                self.progress.update(self.sweep, completed=self.ended)
        self.say(f"[{self.ended}/{self.jobs}] {line}" if self.jobs else line)

    def say(self, line: str) -> None:
        if self.progress and self.progress.live.is_started:
            self.progress.console.print(inert(scrub(line)), markup=False, highlight=False, soft_wrap=True)
        else:
            say(scrub(line))

    def warn(self, sentence: str) -> None:
        """Says a warning once, however many runs of the sweep have it."""
        if sentence not in self.warned:
            self.warned.add(sentence)
            self.say(f"warning: {sentence}")

    def stop(self) -> None:
        if self.progress:
            self.progress.stop()


display = Display()  # one per process: the sweep and its runs share a terminal
