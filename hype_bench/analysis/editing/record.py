"""From finished runs to the record of a model that was made of them; it stands in the same folder as theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hype_bench import output
from hype_bench.analysis.editing.members import Members, adversarial_sets
from hype_bench.options import UserError
from hype_bench.runs import predictions
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.identity import digest
from hype_bench.runs.record import Label, Record, Request
from hype_bench.runs.result import now, record_of
from hype_bench.runs.status import DONE
from hype_bench.runs.weights import digest_of_weights
from hype_bench.stats.calibration import calibration

if TYPE_CHECKING:  # torch comes with them
    from hype_bench.analysis.editing.members import State
    from hype_bench.tasks.data import TaskData
    from hype_bench.training.evaluation import Evaluation
    from hype_bench.training.loop import Outcome

Options = Mapping[str, Any]
Build = Callable[["Edit"], tuple["State", dict[str, Any]]]  # the new weights, and facts for the record


@dataclass(frozen=True)
class Edit:
    """What is made of some runs: ``name`` stands behind their techniques, ``options`` beside theirs."""

    members: Members
    name: str
    options: Options

    @property
    def parts(self) -> dict[str, Any]:
        """Of its identity."""
        shared = self.members.parts()
        return {**shared, "methods": [*shared["methods"], [self.name, dict(self.options)]]}

    @property
    def label(self) -> Label:
        label = self.members.first.label
        return replace(label, method=f"{label.method}+{self.name}", seed=self.members.seed)

    @property
    def title(self) -> str:
        label, count = self.label, len(self.members.runs)
        title = f"{label.model} {label.task} {label.method}"
        if count > 1:
            return f"{title} of {count} runs"
        settings = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{title} seed {label.seed} ({settings})"

    def folder(self, results_dir: Path) -> RunFolder:
        return RunFolder.of(results_dir, digest(self.parts))


E = TypeVar("E", bound=Edit)


def edit_weights(
    edits: Iterable[Edit],
    build: Build,
    results_dir: Path,
    save: bool,
    adversarial: bool = False,
    say: Callable[[str], None] = output.say,
) -> int:
    """Makes the models that do not exist yet, scores them as runs are, and records them; returns how many exist now.

    Args:
        save: keep the weights too, also those of a model that was recorded without them.
        adversarial: also score them on the sets of AdvGLUE.

    Raises:
        UserError: a model cannot be made; it is raised when all others are made.
    """

    def data_of(edit: Edit) -> TaskData:
        data = edit.members.data
        return replace(data, evaluation=[*data.evaluation, *edit.members.adversarial]) if adversarial else data

    def score(edit: Edit, outcome: Outcome) -> Callable[[Path], None]:
        state, facts = build(edit)
        scorer, data = edit.members.scorer, data_of(edit)
        outcome.facts |= facts
        for split in filter(None, (*data.evaluation, data.selection)):
            outcome.evaluations[split.name] = scorer.evaluate(state, split)
        if data.labels:  # no regression, which gives no probabilities
            outcome.facts["ece"] = {name: _calibration_error(of) for name, of in outcome.evaluations.items()}
        outcome.machine = scorer.machine
        return lambda folder: scorer.save(state, folder)

    def is_done(edit: Edit, folder: RunFolder) -> bool:
        record = folder.result()
        wanted = adversarial_sets(edit.label.task) if adversarial else ()
        has_weights = not save or (folder.path / "model").is_dir()
        return record is not None and has_weights and record.scored_rows.keys() >= set(wanted)

    return record_edits(edits, data_of, score, results_dir, save, is_done, say)


def record_edits(
    edits: Iterable[E],
    data_of: Callable[[E], TaskData],
    score: Callable[[E, Outcome], Callable[[Path], None]],
    results_dir: Path,
    save: bool = False,
    is_done: Callable[[E, RunFolder], bool] = lambda edit, folder: folder.result() is not None,
    say: Callable[[str], None] = output.say,
) -> int:
    """As :func:`edit_weights`; ``score`` fills the outcome of an edit and returns what saves its weights."""
    refused: list[UserError] = []
    count = 0
    for edit in edits:
        try:
            folder = edit.folder(results_dir)
            say(f"done before: {edit.title}" if is_done(edit, folder) else _make(edit, data_of, score, folder, save))
            count += 1
        except UserError as error:  # the others can still be made
            refused.append(error)
    for other in refused[:-1]:
        say(f"error: {other}")
    if refused:
        raise refused[-1]
    return count


def _make(
    edit: E,
    data_of: Callable[[E], TaskData],
    score: Callable[[E, Outcome], Callable[[Path], None]],
    folder: RunFolder,
    save: bool,
) -> str:
    from hype_bench.training.loop import Outcome

    data = data_of(edit)
    try:
        with folder.lock():
            outcome = Outcome(warnings=list(data.warnings))
            save_weights = score(edit, outcome)
            record = _write(edit, outcome, data, folder, save_weights if save else None)
    except BusyError as error:
        raise UserError(f"{edit.title}: another process is making it") from error
    return f"done: {edit.title}: {record.label.metric} {100 * (record.headline or 0):.2f}{_members(record)}"


def _write(
    edit: Edit, outcome: Outcome, data: TaskData, folder: RunFolder, save: Callable[[Path], None] | None
) -> Record:
    request = Request(label=edit.label, parts=edit.parts, config=edit.members.first.config, started=now())
    folder.start(request)
    if save is not None:
        save(folder.path / "model")
        folder.share_model()
        outcome.facts["weights"] = digest_of_weights(folder.path / "model")
    folder.write("predictions.csv", predictions.scored(outcome.evaluations, data))
    record = record_of(request, outcome, data, DONE, "")
    folder.write_record(record)
    return record


def _calibration_error(evaluation: Evaluation) -> float:
    return calibration(evaluation.logits.astype(np.float64), evaluation.labels).ece


def _members(record: Record) -> str:
    members: Sequence[str] | None = record.facts.get("members")
    return "" if members is None else f", {len(members)} members"
