"""The three calls. W&B never prompts and is never the reason a run fails."""

from __future__ import annotations

import atexit
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from hype_bench.config import RunConfig
from hype_bench.runs.record import Label
from hype_bench.runs.secrets import scrub_values
from hype_bench.runs.status import DONE, FAILED
from hype_bench.tracking.calls import Calls
from hype_bench.tracking.cell import cell_of
from hype_bench.tracking.fields import named
from hype_bench.tracking.files import forget_attempts, send_errors, send_model, staged
from hype_bench.tracking.mode import Mode

_PATIENCE = 30.0  # seconds for W&B's helper process to answer
_UPLOAD = 20.0  # seconds for a server to answer it
_UPLOAD_OF_MODEL = 600.0  # more seconds, where the weights were kept


class Tracker(Protocol):
    def log(self, row: dict[str, float]) -> None: ...

    def finish(self, summary: Mapping[str, Any], status: str) -> None: ...


class NoTracker:
    """tracker=none."""

    def log(self, row: dict[str, float]) -> None:
        pass

    def finish(self, summary: Mapping[str, Any], status: str) -> None:
        pass


class WandbTracker:
    """One W&B run whose id is the run's identity, so that a resumed run is one run."""

    def __init__(self, session: Any, warnings: list[str], folder: Path | None = None, errors: bool = False) -> None:
        """
        Args:
            folder: of the run, whose model and predictions are sent if the weights were kept.
            errors: whether a confusion matrix and a table of errors are sent too.
        """
        self.session, self.warnings, self.folder, self.errors = session, warnings, folder, errors

    def log(self, row: dict[str, float]) -> None:
        self._safely(lambda: self.session.log(named(row), step=int(row["update"])))

    def finish(self, summary: Mapping[str, Any], status: str) -> None:
        def end() -> None:
            self.session.summary.update(scrub_values({**summary, "status": status}))
            self.session.finish(exit_code=int(status == FAILED))

        if status == DONE:
            self._safely(self._send_files)
        self._safely(end)
        if self.folder is not None and status == FAILED and "reason" not in summary:  # interrupted
            forget_attempts(self.folder.parents[1], self.folder.name)

    def _send_files(self) -> None:
        if self.folder is not None:
            with staged(self.folder.parents[1]):
                if self.errors:
                    send_errors(self.session, self.folder)
                send_model(self.session, self.folder)

    def _safely(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            _warn(self.warnings, error)


class TrackerInThread:
    """A tracker whose calls are made in a thread: W&B's helper process may stop answering.

    Args:
        upload: seconds that the end of the run may take beyond what any may.
    """

    def __init__(self, tracker: Tracker, warnings: list[str], upload: float = 0.0) -> None:
        self.tracker, self.warnings, self.upload = tracker, warnings, upload

    def log(self, row: dict[str, float]) -> None:
        _calls().submit(lambda: self.tracker.log(row))

    def finish(self, summary: Mapping[str, Any], status: str) -> None:
        _calls().submit(lambda: self.tracker.finish(summary, status))
        if not _calls().wait(_PATIENCE + self.upload):
            _give_up(self.warnings)


def start(run: RunConfig, identity: str, label: Label, warnings: list[str]) -> Tracker:
    """Opens the tracker that the configuration names; problems become a warning in the record."""
    if run.tracker.name == "none":
        return NoTracker()
    if run.tracker.name == "trackio":
        return _start_trackio(run, identity, label, warnings)
    if _given_up:
        warnings.extend(_given_up)
        return NoTracker()
    return _start_wandb(run, identity, label, warnings)


def _start_trackio(run: RunConfig, identity: str, label: Label, warnings: list[str]) -> Tracker:
    from hype_bench.tracking.on_trackio import TrackioTracker

    try:
        return TrackioTracker(run, identity, label)
    except Exception as error:
        warnings.append(f"Trackio does not accept this run ({_one_line(error)})")
        return NoTracker()


def _start_wandb(run: RunConfig, identity: str, label: Label, warnings: list[str]) -> Tracker:
    opened: list[Tracker] = []
    upload = _UPLOAD_OF_MODEL if run.training.save == "last" else 0.0
    where = {"project": run.tracker.project, "entity": run.tracker.entity, "system": run.tracker.system}
    folder = Path(run.results_dir, "runs", identity)

    def open_tracker() -> None:
        try:
            forget_attempts(Path(run.results_dir), identity)
            session = open_run(run.as_dict(), label, identity, run.results_dir, limit=_UPLOAD + upload, **where)
            opened.append(WandbTracker(session, warnings, folder, run.tracker.errors))
            _leave_in_time()
        except Exception as error:
            _warn(warnings, error)

    _calls().submit(open_tracker)
    if not _calls().wait(_PATIENCE):
        _give_up(warnings)
    elif _MODE.warning and _MODE.warning not in _warned:
        _warned.add(_MODE.warning)
        warnings.append(_MODE.warning)
    return TrackerInThread(opened[0], warnings, upload) if opened and not _given_up else NoTracker()


_MODE = Mode()
_warned: set[str] = set()
_given_up: list[str] = []  # why this process has no W&B any more


_calls = cache(Calls)  # one thread for all runs of this process


@cache
def _leave_in_time() -> None:
    """What W&B does when the process ends has a limit, too: called once W&B has said what that is, this comes first."""
    atexit.register(_leave)


def _leave() -> None:
    if not _given_up:
        helper = _helper()  # W&B forgets it as soon as it begins to end
        _calls().submit(_end_wandb)
        if helper is not None and not _calls().wait(_PATIENCE):
            helper.kill()
            _calls().wait(_PATIENCE)


def _give_up(warnings: list[str]) -> None:
    """Does without W&B from here on."""
    _given_up.append(f"W&B did not answer within {_PATIENCE:.0f} s: hype-bench publish --runs sends what it missed")
    warnings.extend(_given_up)
    _kill_helper()


def _kill_helper() -> None:
    """Ends W&B's helper process, for which the end of this one would wait; what waits for an answer gets an error."""
    if (helper := _helper()) is not None:
        helper.kill()
    _calls().submit(_end_wandb)
    _calls().wait(_PATIENCE)


def _helper() -> subprocess.Popen[bytes] | None:
    from wandb.sdk import wandb_setup

    connection = wandb_setup.singleton()._connection
    return None if connection is None or connection._proc is None else connection._proc._process


def _end_wandb() -> None:
    import wandb

    with suppress(Exception, SystemExit):  # it may end the process with its helper's exit code
        wandb.teardown()


def open_run(
    config: Mapping[str, Any],
    label: Label,
    identity: str,
    results_dir: str,
    limit: float = 0.0,
    **where: Any,
) -> Any:
    """The W&B run of one fine-tuning or analysis, in the group of its experiment; ``cell`` and ``method`` are for
    grouping.

    Args:
        config: as ``RunConfig.as_dict`` gives it and a record keeps it.
        label: what tables call the run.
        limit: as for :func:`open_session`.
        where: ``project``, ``entity``, and ``system`` as for :func:`open_session`.
    """
    names = {"method": label.method, "cell": cell_of(config, label), "identity": identity}
    return open_session(
        results_dir,
        limit=limit,
        id=identity,
        group=config["experiment"],
        job_type="analysis" if config.get("analysis") else "fine-tune",
        name=label.title,
        tags=[label.model, label.task, *config["methods"]],
        config={**config, **names},
        **where,
    )


def open_session(
    results_dir: str | Path, config: dict[str, Any], limit: float = 0.0, system: bool = False, **about: Any
) -> Any:
    """A W&B run under the results folder, without prompts; an existing one with the same ``id`` is resumed.

    Args:
        limit: seconds to send what is left when it ends; 0: no limit.
        system: whether the load of processor, memory and GPU is tracked.
        about: further arguments of ``wandb.init``. Keys and tokens are removed from both.
    """
    import wandb

    settings = wandb.Settings(
        reinit="create_new",  # runs of one process may be open at once
        silent=True,
        console="off",
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=not system,
        init_timeout=_UPLOAD,
        finish_timeout=limit,
        finish_timeout_raises=True,
    )
    about = {"resume": "allow", "config": scrub_values(config), "settings": settings, **scrub_values(about)}
    mode = _MODE.resolve()
    try:
        return wandb.init(dir=Path(results_dir), mode=mode, **about)
    except Exception as error:
        if mode != "online":
            raise
        _MODE.go_offline(_one_line(error))
        return wandb.init(dir=Path(results_dir), mode="offline", **about)


def _warn(warnings: list[str], error: Exception) -> None:
    sentence = f"W&B does not accept this run ({_one_line(error)})"
    if sentence not in warnings and not _given_up:  # after giving up there is one warning already
        warnings.append(sentence)


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
