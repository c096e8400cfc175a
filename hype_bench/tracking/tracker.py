"""The three calls. W&B is never asked for anything interactively and never the reason a run fails."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from hype_bench.config import RunConfig
from hype_bench.runs.status import FAILED


class Tracker(Protocol):
    def log(self, row: dict[str, float]) -> None: ...

    def finish(self, scores: dict[str, float], status: str) -> None: ...


class NoTracker:
    """tracker=none."""

    def log(self, row: dict[str, float]) -> None:
        pass

    def finish(self, scores: dict[str, float], status: str) -> None:
        pass


class WandbTracker:
    """One W&B run whose id is the run's identity, so that a resumed run is one run."""

    def __init__(self, session: Any, warnings: list[str]) -> None:
        self.session, self.warnings = session, warnings

    def log(self, row: dict[str, float]) -> None:
        self._safely(lambda: self.session.log(row, step=int(row["update"])))

    def finish(self, scores: dict[str, float], status: str) -> None:
        def end() -> None:
            self.session.summary.update({**scores, "status": status})
            self.session.finish(exit_code=int(status == FAILED))

        self._safely(end)

    def _safely(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            _note(self.warnings, error)


def start(run: RunConfig, identity: str, label: dict[str, Any], warnings: list[str]) -> Tracker:
    """Opens the tracker that the configuration names; problems become a warning in the record."""
    if run.tracker.name == "none":
        return NoTracker()
    try:
        return WandbTracker(_start_wandb(run, identity, label), warnings)
    except Exception as error:
        _note(warnings, error)
        return NoTracker()


def _start_wandb(run: RunConfig, identity: str, label: dict[str, Any]) -> Any:
    import wandb

    folder = Path(run.results_dir)
    return wandb.init(
        project=run.tracker.project,
        entity=run.tracker.entity,
        id=identity,
        resume="allow",
        group=run.experiment,
        job_type="fine-tune",
        name=f"{label['model']} {label['task']} {label['method']} seed {run.seed}",
        tags=[label["model"], label["task"], *run.methods],
        config={**run.as_dict(), "identity": identity},
        dir=folder,
        mode=_mode(),
        settings=wandb.Settings(silent=True, console="off", save_code=False, x_disable_meta=True, x_disable_stats=True),
    )


@cache
def _mode() -> Any:
    """What ``WANDB_MODE`` says; else online if there are a key and a network. Without a key never online: W&B asks."""
    import wandb

    asked = os.environ.get("WANDB_MODE")
    if asked and asked != "online":
        return asked
    if not wandb.login(prompt=False, verify=False):
        return "offline"
    return "online" if asked or _reachable(wandb.setup().settings.base_url) else "offline"


def _reachable(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=3):
            return True
    except OSError:
        return False


def _note(warnings: list[str], error: Exception) -> None:
    sentence = f"W&B does not take this run ({(str(error).splitlines() or [type(error).__name__])[0][:120]})"
    if sentence not in warnings:
        warnings.append(sentence)
