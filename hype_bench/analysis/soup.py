"""``hype-bench soup``: averages the weights of finished runs, scores the mean, and leaves a record like a run's."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hype_bench import output
from hype_bench.arguments import ResultsDir, existing
from hype_bench.config import DataConfig, SourceConfig, TaskConfig
from hype_bench.options import UserError
from hype_bench.runs import predictions
from hype_bench.runs.folder import BusyError, RunFolder
from hype_bench.runs.identity import digest
from hype_bench.runs.record import Label, Record, Request
from hype_bench.runs.result import now, record_of
from hype_bench.runs.status import DONE, RunStatus, read_runs
from hype_bench.runs.weights import check_weights, digest_of_weights

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.tasks.data import TaskData

# In which members of a soup must agree:
_SAME = ("format", "model", "data", "labels", "task_version", "max_length", "metric", "methods", "plugins")

SoupKind = StrEnum("SoupKind", ["uniform", "greedy"])


def soup(
    kind: Annotated[SoupKind, typer.Argument(help="uniform: all members; greedy: those that raise a held-out score.")],
    results_dir: ResultsDir = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Average the weights of finished runs.

    They are those with training.save=last that differ in seed or training settings alone.

    Claim: the mean of their weights scores at or above the best single member, at the inference cost of one model.

    Source: Wortsman et al. 2022, "Model soups", ICML, https://arxiv.org/abs/2203.05482

    Cost: no training; one scoring of every split, and for a greedy soup one of the held-out examples per member.
    """
    make_soups(kind.value, existing(results_dir), device)


@dataclass(frozen=True)
class Ingredients:
    """Finished runs that differ in seed and training settings alone, with their weights."""

    members: list[RunStatus]

    @property
    def first(self) -> Record:
        assert self.members[0].record is not None
        return self.members[0].record

    def parts(self, kind: str) -> dict[str, Any]:
        """The soup's identity: what its members have in common, and their names."""
        every = [member.record.parts for member in self.members if member.record is not None]
        training = {key: _shared([parts["training"][key] for parts in every]) for key in every[0]["training"]}
        soup = [f"soup_{kind}", {"members": [member.identity for member in self.members]}]
        same = {key: every[0].get(key) for key in _SAME if key != "plugins" or key in every[0]}
        return {**same, "methods": [*every[0]["methods"], soup], "training": training, "seed": 0}

    def label(self, kind: str) -> Label:
        return replace(self.first.label, method=f"{self.first.label.method}+soup_{kind}", seed=0)


def _shared(values: list[Any]) -> Any:
    """The value that all share, or else every distinct value."""
    texts = {json.dumps(value): value for value in values}
    return values[0] if len(texts) == 1 else list(texts.values())


def ingredients(results_dir: Path) -> list[Ingredients]:
    """The groups of runs that can be averaged: at least two runs with weights each."""
    groups: dict[str, list[RunStatus]] = defaultdict(list)
    for run in read_runs(results_dir):
        if run.state == DONE and run.record is not None and _has_weights(run) and not _is_soup(run.record):
            groups[json.dumps([run.record.parts.get(key) for key in _SAME])].append(run)
    return [Ingredients(members) for members in groups.values() if len(members) > 1]


def _has_weights(run: RunStatus) -> bool:
    return (run.path / "model" / "model.safetensors").is_file()


def _is_soup(record: Record) -> bool:
    return any(name.startswith("soup_") for name, _ in record.methods)


def make_soups(kind: str, results_dir: Path, device: str = "auto", say: Callable[[str], None] = output.say) -> int:
    """Makes the soups that do not exist yet; returns how many exist now.

    Raises:
        UserError: no runs can be averaged, their data or weights have changed, no examples were set aside, or another
            process is making the soup. It is raised after all other soups are made.
    """
    groups = ingredients(results_dir)
    if not groups:
        raise UserError(
            f"{results_dir} holds no two runs with weights that differ in seed or training settings alone; "
            "make them with training.save=last"
        )
    refused: list[UserError] = []
    for group in groups:
        try:
            say(_make(kind, group, results_dir, device))
        except UserError as error:  # the other soups can still be made
            refused.append(error)
    for other in refused[:-1]:
        say(f"error: {other}")
    if refused:
        raise refused[-1]
    return len(groups)


def _make(kind: str, group: Ingredients, results_dir: Path, device: str) -> str:
    folder = RunFolder.of(results_dir, digest(group.parts(kind)))
    label = group.label(kind)
    title = f"{label.model} {label.task} {label.method} of {len(group.members)} runs"
    if folder.result() is not None:
        return f"done before: {title}"
    data = _data(group)
    if kind == "greedy" and data.selection is None:
        raise UserError("a greedy soup needs examples that no run has seen: train with data.selection_examples=...")
    for member in group.members:
        if record := RunFolder(member.path).result():
            check_weights(member.path, record)
    try:
        with folder.lock():
            return f"done: {title}: {_score_and_save(kind, group, data, folder, device)}"
    except BusyError as error:
        raise UserError(f"{title}: another process is making it") from error


def _score_and_save(kind: str, group: Ingredients, data: TaskData, folder: RunFolder, device: str) -> str:
    from safetensors.torch import load_file

    from hype_bench.methods.soup import greedy_soup, uniform_soup
    from hype_bench.training.loop import Outcome
    from hype_bench.training.scoring import Scorer

    request = Request(label=group.label(kind), parts=group.parts(kind), config=group.first.config, started=now())
    folder.start(request)
    paths = {member.identity: member.path / "model" for member in group.members}
    outcome = Outcome(warnings=list(data.warnings))
    scorer = Scorer(next(iter(paths.values())), group.first.label.metric, group.first.parts["max_length"], device)

    def load(name: str) -> dict[str, Any]:
        return dict(load_file(paths[name] / "model.safetensors"))

    members = list(paths)
    if kind == "greedy":
        assert data.selection is not None
        held_out = data.selection
        soup, members, best = greedy_soup(members, load, lambda state: scorer.headline(state, held_out))
        outcome.facts["selection_score"] = best
    else:
        soup = uniform_soup(map(load, members))
    outcome.facts["members"] = members
    for split in data.evaluation:
        outcome.evaluations[split.name] = scorer.evaluate(soup, split)
    outcome.machine = scorer.machine
    scorer.save(soup, folder.path / "model")
    folder.share_model()
    outcome.facts["weights"] = digest_of_weights(folder.path / "model")
    folder.write("predictions.csv", predictions.scored(outcome.evaluations, data))
    record = record_of(request, outcome, data, DONE, "")
    folder.write_record(record)
    return f"{record.label.metric} {100 * (record.headline or 0):.2f}, {len(members)} members"


def _data(group: Ingredients) -> TaskData:
    """The data that the members were trained on.

    Raises:
        UserError: they have changed since.
    """
    from hype_bench.tasks.data import load

    settings = group.first.task
    task = TaskConfig(**{**settings, "source": _source(settings["source"])})
    data = load(task, DataConfig(**group.first.data).drawn(group.first.label.seed))
    if (data.fingerprint, data.labels) != tuple(group.first.parts.get(key) for key in ("data", "labels")):
        raise UserError(f"the data of {task.name} have changed since the runs were trained")
    return data


def _source(given: Mapping[str, Any] | None) -> SourceConfig | None:
    return None if given is None else SourceConfig(**given)
