"""Trains one run: from a checked job to a record on disk."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from hype_bench.launch.job import Job
from hype_bench.runs import predictions
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.progress import writing_progress
from hype_bench.runs.record import Record
from hype_bench.runs.result import record_of
from hype_bench.runs.status import DIVERGED, DONE
from hype_bench.runs.weights import digest_of_weights
from hype_bench.runs.writing import writing_to
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import JobResult
from hype_bench.tracking.fields import Pace

if TYPE_CHECKING:  # torch comes with them
    from hype_bench.tasks.data import TaskData
    from hype_bench.training.loop import Outcome


def train(job: Job, display: Display, warnings: list[str]) -> JobResult:
    """Trains, scores and leaves a record or a traceback. The caller holds the run's lock."""
    from hype_bench.models.silence import silence_transformers
    from hype_bench.tracking.tracker import start
    from hype_bench.training.interleave import turns_of_this_thread
    from hype_bench.training.loop import DivergedError, Outcome, fine_tune

    run, folder = job.run, job.folder
    request = job.request()
    if set_aside := folder.start(request):
        display.warn(set_aside)
    outcome = Outcome(warnings=[*job.data.warnings, *warnings])
    tracker = start(run, folder.path.name, job.label, outcome.warnings)
    display.start_run(job.title)
    pace = Pace()
    methods = job.methods | turns_of_this_thread()

    def trained() -> Record:
        def on_log(row: dict[str, float], total: int) -> None:
            display.update(row, total)
            write_progress(int(row["update"]), total)
            tracker.log(row | pace.since_last(row["update"], outcome.tokens))

        state, reason = DONE, ""
        try:
            save_to = folder.path / "model" if run.training.save == "last" else None
            outcome.seconds["prepare"] = time.perf_counter() - job.started
            with silence_transformers(), writing_progress(folder.path) as write_progress:
                fine_tune(run, job.data, job.checkpoint, methods, outcome, on_log, display.show_progress, save_to)
            _write_beside(folder, outcome, job.data)
        except DivergedError as error:
            state, reason = DIVERGED, str(error)
        return record_of(request, outcome, job.data, state, reason)

    result = job.leave_record(trained, tracker, display)
    if run.training.save == "last" and result.state == DONE:
        _write_card(folder)
    return result


def _write_card(folder: RunFolder) -> None:
    from hype_bench.render.model_card import write_card

    if record := folder.result():
        write_card(folder.path, record)


def train_again(job: Job, record: Record, display: Display) -> list[str]:
    """Trains a run that has its record but not its weights, and puts these beside it; the record stays as it is.

    The caller holds the run's lock.

    Returns:
        A warning if the scores are not those of the record.

    Raises:
        UserError: the results folder cannot be written to.
        DivergedError: the loss is not finite this time.
    """
    from hype_bench.models.silence import silence_transformers
    from hype_bench.training.loop import Outcome, fine_tune

    partial, model = job.folder.path / "model.partial", job.folder.path / "model"
    display.start_run(f"{job.title} (again, for its weights)")
    outcome = Outcome()
    with writing_to(partial):
        shutil.rmtree(partial, ignore_errors=True)
        with silence_transformers():
            fine_tune(
                job.run,
                job.data,
                job.checkpoint,
                job.methods,
                outcome,
                lambda row, total: display.update(row, total),
                display.show_progress,
                partial,
            )
        again = record_of(job.request(), outcome, job.data, DONE, "").scores.to_json()
        job.folder.write_json("weights.json", {"weights": digest_of_weights(partial), "scores": again})
        model.mkdir(exist_ok=True)
        for file in sorted(partial.iterdir(), key=lambda file: file.suffix == ".safetensors"):
            file.replace(model / file.name)  # the weights come last: where they are, all of it is
        partial.rmdir()
    job.folder.share_model()
    before = record.scores.to_json()
    differing = [name for name, score in before.items() if repr(again.get(name)) != repr(score)]
    if not differing:
        return []
    name = differing[0]
    return [
        f"{job.title}: trained again for its weights, {name} is {again.get(name)} and was {before[name]}; "
        "the weights are those of the second training"
    ]


def _write_beside(folder: RunFolder, outcome: Outcome, data: TaskData) -> None:
    """What there is besides the record, which comes last."""
    folder.write("predictions.csv", predictions.scored(outcome.evaluations, data))
    if outcome.tests:
        folder.write("test.csv", predictions.unlabelled(outcome.tests, data))
    folder.share_model()
    outcome.facts["weights"] = digest_of_weights(folder.path / "model")
