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
from hype_bench.runs.secrets import scrub_values
from hype_bench.runs.status import FAILED
from hype_bench.tracking.cell import cell_of


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
        session = open_run(
            run.as_dict(), label, identity, run.results_dir, project=run.tracker.project, entity=run.tracker.entity
        )
        return WandbTracker(session, warnings)
    except Exception as error:
        _note(warnings, error)
        return NoTracker()


def open_run(
    config: dict[str, Any], label: dict[str, Any], identity: str, results_dir: str, **where: str | None
) -> Any:
    """The W&B run of one fine-tuning, in the group of its experiment; ``cell`` and ``method`` are there to group by.

    Args:
        config: as ``RunConfig.as_dict`` gives it and a record keeps it.
        label: what tables call the run.
        where: ``project`` and ``entity``.
    """
    names = {"method": label["method"], "cell": cell_of(config, label), "identity": identity}
    return open_session(
        results_dir,
        id=identity,
        group=config["experiment"],
        job_type="fine-tune",
        name=f"{label['model']} {label['task']} {label['method']} seed {config['seed']}",
        tags=[label["model"], label["task"], *config["methods"]],
        config={**config, **names},
        **where,
    )


def open_session(results_dir: str | Path, config: dict[str, Any], **about: Any) -> Any:
    """A W&B run under the results folder that asks for nothing; one that is there under the same ``id`` is resumed.

    Args:
        about: further arguments of ``wandb.init``. Keys and tokens are taken out of both.
    """
    import wandb

    return wandb.init(
        resume="allow",
        config=scrub_values(config),
        dir=Path(results_dir),
        mode=_mode(),
        settings=wandb.Settings(silent=True, console="off", save_code=False, x_disable_meta=True, x_disable_stats=True),
        **scrub_values(about),
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
