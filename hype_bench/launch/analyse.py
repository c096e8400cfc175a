"""Analyses one run: trains it where its weights are missing, and leaves a record of the analysis beside that run's."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from hype_bench.launch.data import further_of
from hype_bench.launch.job import Job
from hype_bench.launch.train import train, train_again
from hype_bench.options import UserError
from hype_bench.runs import predictions
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.measured import Measured
from hype_bench.runs.reading import BrokenError
from hype_bench.runs.record import Record
from hype_bench.runs.result import record_of_analysis
from hype_bench.runs.status import DIVERGED, DONE, FAILED
from hype_bench.runs.weights import check_weights, digest_of_weights, has_weights
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import JobResult


def analyse(job: Job, training: Job, display: Display, warnings: list[str]) -> JobResult:
    """Leaves the record of an analysis, or why there is none. The caller holds its lock.

    Args:
        training: the run that it reads, which has kept its weights or is trained here.
        warnings: on its settings, for the record of a run that is trained here.
    """
    from hype_bench.tracking.tracker import start

    request, folder = job.request(), job.folder
    if set_aside := folder.start(request):
        display.warn(set_aside)
    remarks = list[str]()
    tracker = start(job.run, folder.path.name, job.label, remarks)
    about: dict[str, Any] = {"seconds": {"prepare": time.perf_counter() - job.started}}

    def analysed() -> Record:
        measured, state, reason = Measured(), DONE, ""
        assert job.analysis is not None
        trained = _with_weights(training, display, warnings, remarks) if job.analysis.needs_weights else None
        if trained is not None and trained.status == DIVERGED:
            state, reason = DIVERGED, f"the run that it reads has diverged: {trained.reason}"
        else:
            display.start_run(job.title)
            begun = time.perf_counter()
            measured, about["machine"] = _measure(job, training, trained)
            about["seconds"]["analyse"] = time.perf_counter() - begun
        measured.warnings[:0] = remarks
        _write_beside(folder, measured)
        return record_of_analysis(request, measured, state, reason, **about)

    return job.leave_record(analysed, tracker, display)


def _with_weights(training: Job, display: Display, warnings: list[str], remarks: list[str]) -> Record:
    """The record of a run whose weights are there, be it that they are trained now; or of one that has diverged.

    Args:
        warnings: on the settings of the run, for its own record.
        remarks: gets what the analysis' record should say of the weights.

    Raises:
        UserError: the run fails, or its weights are not those that it saved.
    """
    with _locked(training.folder, training.title, display):
        record = _record(training)
        if record is None:
            result = train(training, display, warnings)
            if result.state == FAILED:
                raise UserError(f"the run that it reads has failed: {result.reason}")
            display.say(result_of_training(result))
            record = training.folder.result()
        elif record.status == DONE and not has_weights(training.folder.path):
            remarks += train_again(training, record, display)
        assert record is not None
        if record.status == DONE:
            check_weights(training.folder.path, record)
        return record


def result_of_training(result: JobResult) -> str:
    return ": ".join(part for part in ("trained", result.title, result.summary, result.reason) if part)


def _record(training: Job) -> Record | None:
    try:
        return training.folder.result()
    except BrokenError:  # train sets it aside and reports it
        return None


@contextmanager
def _locked(folder: RunFolder, title: str, display: Display) -> Iterator[None]:
    """Holds a run, after another process that may be training it."""
    with ExitStack() as held:
        try:
            held.enter_context(folder.lock(patience=0.1))
        except BusyError:
            display.say(f"waiting for another process that holds {title}")
            held.enter_context(folder.lock(patience=-1))  # without end: it is let go whatever becomes of the process
        yield


def _measure(job: Job, training: Job, record: Record | None) -> tuple[Measured, dict[str, Any]]:
    """What the analysis finds, and the machine."""
    from hype_bench.analysis.measuring.trained import Trained
    from hype_bench.training.device import describe

    assert job.analysis is not None
    trained = Trained(
        run=training.run,
        record=record,
        folder=training.folder,
        data=training.data,
        further=further_of(job.run, job.analysis),
        checkpoint=job.checkpoint,
        needs_every_token=job.analysis.needs_every_token,
    )
    measured = job.analysis.measure(trained)
    measured.classes = measured.classes or job.data.labels
    measured.subset = {**job.data.subset, **measured.subset}
    measured.absent = [*job.data.absent, *measured.absent]
    for data in trained.further:
        measured.subset |= data.subset
        measured.absent += data.absent
    if job.analysis.needs_weights:
        weights = digest_of_weights(training.folder.path / "model")
        measured.facts |= {"run": training.folder.path.name, "weights": weights}
    return measured, describe(trained.device)


def _write_beside(folder: RunFolder, measured: Measured) -> None:
    """What there is besides the record, which comes last."""
    if measured.evaluations:
        folder.write("predictions.csv", predictions.evaluated(measured.evaluations, measured.classes))
    if measured.arrays:
        content = io.BytesIO()
        np.savez_compressed(content, **measured.arrays)  # type: ignore[arg-type]
        folder.write("arrays.npz", content.getvalue())
