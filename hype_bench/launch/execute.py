"""From a composed configuration to a record on disk: the one place where all folders of the package meet."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hype_bench.analysis.registry import build as build_analysis
from hype_bench.config import RunConfig, UserError, resolve
from hype_bench.launch.analyse import analyse
from hype_bench.launch.data import data_of, fingerprint_of, fingerprints_of_further
from hype_bench.launch.errors import value_errors
from hype_bench.launch.job import Job
from hype_bench.launch.train import train
from hype_bench.runs.folder import BusyError
from hype_bench.runs.identity import digest, identity, of_analysis, options_of
from hype_bench.runs.status import RUNNING
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import JobResult

if TYPE_CHECKING:  # torch and transformers are imported by the functions that need them: a mistake is told at once
    from hype_bench.contract.method import Method
    from hype_bench.models.checkpoint import Checkpoint


def execute(composed: DictConfig, display: Display) -> JobResult:
    """Runs one job unless its record exists, and leaves a record or a traceback.

    Raises:
        UserError: the configuration, the data, the model or the results folder is invalid.
    """
    job = _prepare(composed)
    if before := job.done_before():
        return before
    warnings = _check_fit(job, is_warmup_asked_for=composed.training.warmup_steps is not None)
    try:
        with job.folder.lock():  # another process may have done it meanwhile
            return job.done_before() or _do(job, display, warnings)
    except BusyError:
        return job.result(RUNNING, "another process is running it")


def _do(job: Job, display: Display, warnings: list[str]) -> JobResult:
    if job.analysis is None:
        return train(job, display, warnings)
    return analyse(job, _training_of(job), display, warnings)


def _training_of(job: Job) -> Job:
    """The run that an analysis reads: the same settings, with its weights kept."""
    run = replace(job.run, analysis={}, training=replace(job.run.training, save="last"))
    parts = _parts_of_run(run, job.methods, job.checkpoint, job.data.fingerprint, job.data.labels)
    return Job(run, job.data, job.checkpoint, job.methods, parts)


def _prepare(composed: DictConfig) -> Job:
    """Detects every mistake that can be detected before weights are loaded."""
    from hype_bench.models.checkpoint import locate
    from hype_bench.training.device import choose_device

    started = time.perf_counter()
    run, methods = resolve_run(composed)
    choose_device(run.device, run.training.precision)
    checkpoint = locate(run.model)
    data = data_of(run)
    parts = _parts(run, methods, checkpoint, data.fingerprint, data.labels)
    return Job(run, data, checkpoint, methods, parts, build_analysis(run.analysis), started)


def _check_fit(job: Job, is_warmup_asked_for: bool) -> list[str]:
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
    from hype_bench.contract.plain import check_plain
    from hype_bench.contract.registry import build
    from hype_bench.models.family import family_of

    OmegaConf.set_readonly(composed, False)
    with value_errors():
        composed.model.family = family_of(OmegaConf.to_object(composed.model))  # type: ignore[arg-type]
        run = resolve(composed)
    methods = build(run.methods)
    if run.training.save == "last":
        check_plain(methods, "leave out training.save=last")
    if (analysis := build_analysis(run.analysis)) is not None:
        if analysis.needs_weights:
            check_plain(methods, "an analysis needs weights that were saved")
        analysis.check(run)
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


def identify_read(run: RunConfig, methods: dict[str, Method]) -> str:
    """The name of the folder of the run whose weights an analysis reads; empty if it reads none, or is none.

    Raises:
        UserError: as :func:`identify`.
    """
    analysis = build_analysis(run.analysis)
    return identify(replace(run, analysis={}), methods) if analysis is not None and analysis.needs_weights else ""


def _parts(
    run: RunConfig, methods: dict[str, Method], checkpoint: Checkpoint, data: str, labels: list[str]
) -> dict[str, Any]:
    """What the identity of a run, or of its analysis, is made of."""
    parts = _parts_of_run(run, methods, checkpoint, data, labels)
    analysis = build_analysis(run.analysis)
    if analysis is None:
        return parts
    (name,) = run.analysis
    options = asdict(analysis)  # type: ignore[call-overload]
    return of_analysis(parts, name, options, analysis.version, fingerprints_of_further(run, analysis))


def _parts_of_run(
    run: RunConfig, methods: dict[str, Method], checkpoint: Checkpoint, data: str, labels: list[str]
) -> dict[str, Any]:
    from hype_bench.contract.registry import plugins_of

    options = {name: options_of(method) for name, method in methods.items()}
    return identity(run, checkpoint.identity, data, labels, options, plugins_of(methods))
