"""One run or one analysis that is about to be done: checked, with its data at hand, and nothing written yet."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from hype_bench.analysis.registry import build
from hype_bench.config import RunConfig, UserError
from hype_bench.launch.errors import one_line
from hype_bench.launch.variation import variation
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.identity import digest
from hype_bench.runs.reading import BrokenError, UnreadableError
from hype_bench.runs.record import Label, Record, Request
from hype_bench.runs.result import now
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DONE, FAILED, UNREADABLE
from hype_bench.sweeps.display import Display
from hype_bench.sweeps.outcomes import JobResult
from hype_bench.tracking.fields import summary_of
from hype_bench.tracking.tracker import Tracker

if TYPE_CHECKING:  # torch and transformers come with them
    from hype_bench.analysis.measuring.form import Analysis
    from hype_bench.contract.method import Method
    from hype_bench.models.checkpoint import Checkpoint
    from hype_bench.tasks.data import TaskData


@dataclass(frozen=True)
class Job:
    """``parts``: what its identity is made of; ``analysis``: None if the run itself is to be done."""

    run: RunConfig
    data: TaskData
    checkpoint: Checkpoint
    methods: dict[str, Method]
    parts: dict[str, Any]
    analysis: Analysis | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(self.run.results_dir, digest(self.parts))

    @property
    def label(self) -> Label:
        return Label(
            model=self.checkpoint.name,
            task=task_label(self.run),
            method="+".join(self.run.methods),
            seed=self.run.seed,
            metric=metric_of(self.run),
            generated=self.run.task.generated,
            experiment=self.run.experiment,
            variation=scrub(variation()),
        )

    @property
    def title(self) -> str:
        return self.label.title

    def request(self) -> Request:
        return Request(
            label=self.label,
            parts=self.parts,
            config=self.run.as_dict(),
            overrides=_typed_overrides(is_analysis=self.analysis is not None),
            working_directory=str(Path.cwd()),
            started=now(),
        )

    def result(self, state: str, reason: str = "", skipped: bool = False, summary: str = "") -> JobResult:
        return JobResult(state, self.title, self.folder.path.name, reason, skipped, summary)

    def leave_record(self, work: Callable[[], Record], tracker: Tracker, display: Display) -> JobResult:
        """Writes the record in which ``work`` ends; where it fails, the reason in its place. An interrupt goes on."""
        try:
            record = work()
            self.folder.write_record(record)
        except BaseException as error:
            tracker.finish({"reason": one_line(error)} if isinstance(error, Exception) else {}, FAILED)
            if not isinstance(error, Exception):
                raise
            return self.failed(error)
        tracker.finish(summary_of(record), record.status)
        for warning in record.warnings:
            display.warn(f"{self.checkpoint.name} {self.label.task}: {warning}")
        return self.result(record.status, record.reason, summary=record.summary)

    def done_before(self) -> JobResult | None:
        """The result if there is a record, or one that cannot be read now."""
        try:
            record = self.folder.result()
        except BrokenError:  # RunFolder.start sets it aside and reports it
            return None
        except UnreadableError as error:  # it may be a valid record
            return self.result(UNREADABLE, str(error))
        if record is None:
            return None
        reason, is_run = record.reason, self.analysis is None
        missing = {
            "its weights were not kept": is_run
            and self.run.training.save == "last"
            and not (self.folder.path / "model").is_dir(),
            "its test sets were not predicted": is_run
            and self.data.test
            and not (self.folder.path / "test.csv").is_file(),
        }
        for what, is_missing in missing.items():
            if record.status == DONE and is_missing:
                reason = f"{what}; to have them, move {self.folder.path} away and run it again"
        return self.result(record.status, reason, skipped=True, summary=record.summary)

    def failed(self, error: Exception) -> JobResult:
        """Leaves beside the run why it failed: the traceback, or the sentence if that says it all."""
        reason = scrub((str(error).strip().splitlines() or [""])[0] or type(error).__name__)
        explained = isinstance(error, UserError)
        try:
            text = f"{error}\n" if explained else "".join(traceback.format_exception(error))
            self.folder.write("failure.txt", scrub(text))
        except UserError as full:
            return self.result(FAILED, reason if explained else f"{reason} (and {full})")
        return self.result(FAILED, reason if explained else f"{reason} (traceback: {self.folder.path / 'failure.txt'})")


def task_label(run: RunConfig) -> str:
    """What tables call the task; of an analysis its name stands behind it: ``sst2.robustness``."""
    analysis = build(run.analysis)
    return run.task.name if analysis is None else f"{run.task.name}.{analysis.title(*run.analysis)}"


def metric_of(run: RunConfig) -> str:
    """Of its headline score."""
    analysis = build(run.analysis)
    return run.task.metric if analysis is None else analysis.metric


def _typed_overrides(is_analysis: bool) -> list[str] | None:
    """The overrides as typed, ``${...}`` unresolved; None outside of Hydra. A run that an analysis needs is not one."""
    if not HydraConfig.initialized():
        return None
    typed: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [word for word in typed if is_analysis or not word.lstrip("+").startswith("analysis")]
