"""From a composed configuration to a record on disk: the one place where all folders of the package meet."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hype_bench.config import RunConfig, UserError, resolve
from hype_bench.launch.data import data_of, fingerprint_of
from hype_bench.launch.errors import value_errors
from hype_bench.runs import predictions
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.identity import digest, identity
from hype_bench.runs.progress import writing_progress
from hype_bench.runs.reading import BrokenError, UnreadableError
from hype_bench.runs.record import Label, Request
from hype_bench.runs.result import now, record_of
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DIVERGED, DONE, FAILED, RUNNING, UNREADABLE
from hype_bench.runs.weights import digest_of_weights
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import JobResult

if TYPE_CHECKING:  # torch and transformers are imported by the functions that need them: a mistake is told at once
    from hype_bench.contract.method import Method
    from hype_bench.models.checkpoint import Checkpoint
    from hype_bench.tasks.data import TaskData
    from hype_bench.training.loop import Outcome


@dataclass(frozen=True)
class _Job:
    """One run, checked, with its data at hand and nothing written yet; ``parts``: what its identity is made of."""

    run: RunConfig
    data: TaskData
    checkpoint: Checkpoint
    methods: dict[str, Method]
    parts: dict[str, Any]
    started: float

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(self.run.results_dir, digest(self.parts))

    @property
    def label(self) -> Label:
        return Label(
            model=self.checkpoint.name,
            task=self.run.task.name,
            method="+".join(self.run.methods),
            seed=self.run.seed,
            metric=self.run.task.metric,
            generated=self.run.task.generated,
            experiment=self.run.experiment,
        )

    @property
    def title(self) -> str:
        return self.label.title

    def request(self) -> Request:
        return Request(
            label=self.label,
            parts=self.parts,
            config=self.run.as_dict(),
            overrides=_typed_overrides(),
            working_directory=str(Path.cwd()),
            started=now(),
        )

    def result(self, state: str, reason: str = "", skipped: bool = False, summary: str = "") -> JobResult:
        return JobResult(state, self.title, self.folder.path.name, reason, skipped, summary)


def execute(composed: DictConfig, display: Display) -> JobResult:
    """Runs one job unless its record exists, and leaves a record or a traceback.

    Raises:
        UserError: the configuration, the data, the model or the results folder is invalid.
    """
    job = _prepare(composed)
    if before := _done_before(job):
        return before
    warnings = _check_fit(job, is_warmup_asked_for=composed.training.warmup_steps is not None)
    try:
        with job.folder.lock():  # another process may have done it meanwhile
            return _done_before(job) or _run(job, display, warnings)
    except BusyError:
        return job.result(RUNNING, "another process is running it")


def _typed_overrides() -> list[str] | None:
    """The overrides as typed, ``${...}`` unresolved; None outside of Hydra."""
    if not HydraConfig.initialized():
        return None
    typed: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return list(typed)


def _prepare(composed: DictConfig) -> _Job:
    """Detects every mistake that can be detected before weights are loaded."""
    from hype_bench.models.checkpoint import locate
    from hype_bench.training.device import choose_device

    started = time.perf_counter()
    run, methods = resolve_run(composed)
    choose_device(run.device, run.training.precision)
    checkpoint = locate(run.model)
    data = data_of(run)
    return _Job(
        run, data, checkpoint, methods, _parts(run, methods, checkpoint, data.fingerprint, data.labels), started
    )


def _check_fit(job: _Job, is_warmup_asked_for: bool) -> list[str]:
    """What to tell the user of settings that hardly fit.

    Raises:
        UserError: a setting, or an option of a technique, that does not fit the model or the data.
    """
    from hype_bench.training.fit import check_model, check_texts, check_warmup

    settings = job.run.training
    check_model(job.checkpoint, job.data.outputs, settings, job.methods)
    return [
        *check_warmup(len(job.data.train), settings, is_warmup_asked_for),
        *check_texts(job.checkpoint, job.data, job.run.data.max_length),
    ]


def resolve_run(composed: DictConfig) -> tuple[RunConfig, dict[str, Method]]:
    """A run's settings and techniques, as far as they can be checked without its data and its weights.

    Raises:
        UserError: a value, or a combination of them, that cannot be.
    """
    from hype_bench.contract.registry import build
    from hype_bench.models.family import family_of

    OmegaConf.set_readonly(composed, False)
    with value_errors():
        composed.model.family = family_of(OmegaConf.to_object(composed.model))  # type: ignore[arg-type]
        run = resolve(composed)
    methods = build(run.methods)
    return replace(run, methods={name: run.methods[name] for name in methods}), methods


def check_planned(run: RunConfig, methods: dict[str, Method]) -> None:
    """Checks of a planned run what its job will check, if the checkpoint is on this machine.

    Raises:
        UserError: a setting, or an option of a technique, that does not fit the model.
    """
    from hype_bench.models.checkpoint import locate
    from hype_bench.models.skeleton import skeleton
    from hype_bench.training.fit import check_architecture, check_length

    try:
        checkpoint = locate(run.model)
        if not checkpoint.is_local:
            return
        model = skeleton(checkpoint, 1 if run.task.is_regression else 2)
    except UserError:  # missing weights are no mistake of the plan, which reports them for every run
        return
    check_architecture(model, run.training, methods)
    check_length(model, run.data.max_length)


def identify(run: RunConfig, methods: dict[str, Method]) -> str:
    """The name of a run's folder.

    Raises:
        UserError: its data or its checkpoint is not available.
    """
    from hype_bench.models.checkpoint import locate

    return digest(_parts(run, methods, locate(run.model), *fingerprint_of(run)))


def _parts(
    run: RunConfig, methods: dict[str, Method], checkpoint: Checkpoint, data: str, labels: list[str]
) -> dict[str, Any]:
    from hype_bench.contract.registry import plugins_of

    values = {name: asdict(method) for name, method in methods.items()}  # type: ignore[call-overload]
    return identity(run, checkpoint.identity, data, labels, values, plugins_of(methods))


def _done_before(job: _Job) -> JobResult | None:
    try:
        record = job.folder.result()
    except BrokenError:  # RunFolder.start sets it aside and reports it
        return None
    except UnreadableError as error:  # it may be a valid record
        return job.result(UNREADABLE, str(error))
    if record is None:
        return None
    reason = record.reason
    missing = {
        "its weights were not kept": job.run.training.save == "last" and not (job.folder.path / "model").is_dir(),
        "its test sets were not predicted": job.data.test and not (job.folder.path / "test.csv").is_file(),
    }
    for what, is_missing in missing.items():
        if record.status == DONE and is_missing:
            reason = f"{what}; to have them, move {job.folder.path} away and run it again"
    return job.result(record.status, reason, skipped=True, summary=record.summary)


def _run(job: _Job, display: Display, warnings: list[str]) -> JobResult:
    from hype_bench.models.silence import silence_transformers
    from hype_bench.tracking.tracker import start
    from hype_bench.training.loop import DivergedError, Outcome, fine_tune

    run, folder = job.run, job.folder
    request = job.request()
    if set_aside := folder.start(request):
        display.warn(set_aside)
    outcome = Outcome(warnings=[*job.data.warnings, *warnings])
    tracker = start(run, folder.path.name, job.label, outcome.warnings)
    display.start_run(job.title)

    def on_log(row: dict[str, float], total: int) -> None:
        display.update(row, total)
        write_progress(int(row["update"]), total)
        tracker.log(row)

    state, reason = DONE, ""
    try:
        try:
            save_to = folder.path / "model" if run.training.save == "last" else None
            outcome.seconds["prepare"] = time.perf_counter() - job.started
            with silence_transformers(), writing_progress(folder.path) as write_progress:
                fine_tune(run, job.data, job.checkpoint, job.methods, outcome, on_log, display.show_progress, save_to)
            _write_beside(folder, outcome, job.data)
        except DivergedError as error:
            state, reason = DIVERGED, str(error)
        record = record_of(request, outcome, job.data, state, reason)
        folder.write_record(record)
    except BaseException as error:
        tracker.finish({}, FAILED)
        if not isinstance(error, Exception):  # an interrupt ends the sweep
            raise
        return _failed(job, error)
    tracker.finish(record.scores.to_json(), state)
    for warning in outcome.warnings:
        display.warn(f"{job.checkpoint.name} {run.task.name}: {warning}")
    return job.result(state, reason, summary=record.summary)


def _write_beside(folder: RunFolder, outcome: Outcome, data: TaskData) -> None:
    """What there is besides the record, which comes last."""
    folder.write("predictions.csv", predictions.scored(outcome.evaluations, data))
    if outcome.tests:
        folder.write("test.csv", predictions.unlabelled(outcome.tests, data))
    folder.share_model()
    outcome.facts["weights"] = digest_of_weights(folder.path / "model")


def _failed(job: _Job, error: Exception) -> JobResult:
    """Leaves beside the run why it failed: the traceback, or the sentence if that says it all."""
    reason = scrub((str(error).strip().splitlines() or [""])[0] or type(error).__name__)
    explained = isinstance(error, UserError)
    try:
        text = f"{error}\n" if explained else "".join(traceback.format_exception(error))
        job.folder.write("failure.txt", scrub(text))
    except UserError as full:
        return job.result(FAILED, reason if explained else f"{reason} (and {full})")
    return job.result(FAILED, reason if explained else f"{reason} (traceback: {job.folder.path / 'failure.txt'})")
