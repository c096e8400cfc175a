"""The finished runs that an edit starts from, with their data, weights and pre-trained start."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hype_bench.config import DataConfig, ModelConfig, SourceConfig, TaskConfig
from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from hype_bench.runs.status import DONE, RunStatus, read_runs
from hype_bench.runs.weights import check_weights

if TYPE_CHECKING:  # torch comes with them
    from torch import Tensor

    from hype_bench.tasks.data import Split, TaskData
    from hype_bench.training.scoring import Scorer

    State = dict[str, Tensor]  # a state dict

EDITS = (
    "soup_uniform",
    "soup_greedy",
    "wise_ft",
    "model_stock",
    "lines",
    "graft",
    "scale_intruders",
    "smooth",
)  # what they made is not edited again
_SAME = ("format", "model", "data", "labels", "task_version", "max_length", "metric", "methods", "plugins")


@dataclass
class Members:
    """Runs that differ in seed and training settings alone; one run, for an edit of a single one.

    What they need is read when it is asked for first, and kept.
    """

    runs: list[RunStatus]
    device: str = "auto"

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def records(self) -> list[Record]:
        return [run.record for run in self.runs if run.record is not None]

    @property
    def names(self) -> list[str]:
        return [run.identity for run in self.runs]

    @property
    def seed(self) -> int:
        return self.first.label.seed if len(self.runs) == 1 else 0

    def parts(self) -> dict[str, Any]:
        """Of the identity: what they have in common, and every value of the training settings in which they differ."""
        if len(self.runs) == 1:
            return {**self.first.parts, "seed": self.seed}
        every = [record.parts for record in self.records]
        training = {key: _shared([parts["training"][key] for parts in every]) for key in every[0]["training"]}
        same = {key: every[0].get(key) for key in _SAME if key != "plugins" or key in every[0]}
        return {**same, "training": training, "seed": self.seed}

    @cached_property
    def data(self) -> TaskData:
        """The data that they were trained on.

        Raises:
            UserError: they, or the weights of a run, have changed since.
        """
        for run in self.runs:
            if record := RunFolder(run.path).result():  # a whole one, with the digest of the weights
                check_weights(run.path, record)
        return data_of(self.first)

    @cached_property
    def adversarial(self) -> list[Split]:
        """The sets of AdvGLUE for the task, under their names.

        Raises:
            UserError: there are none, or they are not available.
        """
        from hype_bench.analysis.measuring.scored_data import scored_part
        from hype_bench.analysis.robustness import adversarial_task

        task, data = _task(self.first), DataConfig(**self.first.data).drawn(self.first.label.seed)
        names = adversarial_sets(self.first.label.task)
        loaded = [(name, scored_part(adversarial_task(task, name), data)) for name in names]
        return [replace(of.evaluation[0], name=name) for name, of in loaded]

    @cached_property
    def scorer(self) -> Scorer:
        from hype_bench.training.scoring import Scorer

        folder = self.runs[0].path / "model"
        return Scorer(folder, self.first.label.metric, self.first.parts["max_length"], self.device)

    def weights(self, name: str | None = None) -> State:
        """Of one of them, by default of the first.

        Raises:
            UserError: they are those of another architecture.
        """
        from safetensors.torch import load_file

        run = next(run for run in self.runs if run.identity == (name or self.names[0]))
        state: State = dict(load_file(run.path / "model" / "model.safetensors"))
        self._check_shapes(state, f"the weights in {run.path}")
        return state

    @cached_property
    def start(self) -> State:
        """The weights from which they were trained, as the checkpoint has them, under the same names.

        Raises:
            UserError: the checkpoint is another one now, or a technique drew layers anew.
        """
        from hype_bench.models.checkpoint import locate
        from hype_bench.models.loading import load_classifier
        from hype_bench.models.silence import silence_transformers

        if any(name == "reinit" for name, _ in self.first.methods):
            raise UserError(f"{self.title}: reinit drew its top layers anew, and they have no pre-trained weights")
        checkpoint = locate(ModelConfig(**self.first.config["model"]))
        if checkpoint.identity != self.first.parts["model"]:
            raise UserError(f"{self.title}: {checkpoint.location} is not the checkpoint from which it was trained")
        with silence_transformers():
            model = load_classifier(checkpoint, len(self.first.parts["labels"]) or 1, 0.0, self.first.label.seed)
        state: State = dict(model.state_dict())
        self._check_shapes(state, f"the checkpoint {checkpoint.location}")
        return state

    @cached_property
    def depths(self) -> dict[str, int]:
        """Of each parameter, as :func:`hype_bench.models.layers.depths` has them: 0 is the embeddings'."""
        from hype_bench.models.layers import depths

        model = self.scorer.model
        levels = depths(model)
        return {name: levels[parameter] for name, parameter in model.named_parameters()}

    @cached_property
    def above(self) -> set[str]:
        """The names of the parameters of the head and the pooler, which no edit takes back: the head has no pre-trained
        weights."""
        from hype_bench.models.layers import head_parameters, pooler

        model = self.scorer.model
        between = pooler(model)
        parameters = head_parameters(model) | set(between.parameters() if between is not None else ())
        return {name for name, parameter in model.named_parameters() if parameter in parameters}

    @property
    def title(self) -> str:
        return self.first.label.title

    def _check_shapes(self, state: State, what: str) -> None:
        expected = self.scorer.model.state_dict()
        different = sorted(expected.keys() ^ state.keys())
        different += [name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape]
        if different:
            where = f"the model in {self.runs[0].path}"
            raise UserError(f"{what} are of another architecture than {where}: {different[0]} differs")


def trained(results_dir: Path) -> list[RunStatus]:
    """The runs of a folder that are done and are no edit of others, with or without weights."""
    runs = [run for run in read_runs(results_dir) if run.state == DONE and run.record is not None]
    return [run for run in runs if run.record is not None and not is_edit(run.record)]


def has_weights(run: RunStatus) -> bool:
    return (run.path / "model" / "model.safetensors").is_file()


def is_edit(record: Record) -> bool:
    return any(name in EDITS for name, _ in record.methods)


def groups(results_dir: Path, device: str = "auto") -> Iterator[Members]:
    """Runs with weights that differ in seed and training settings alone, two or more together.

    Raises:
        UserError: there are none.
    """
    alike: dict[str, list[RunStatus]] = defaultdict(list)
    for run in filter(has_weights, trained(results_dir)):
        assert run.record is not None
        alike[json.dumps([run.record.parts.get(key) for key in _SAME])].append(run)
    several = [runs for runs in alike.values() if len(runs) > 1]
    if not several:
        raise UserError(
            f"{results_dir} holds no two runs with weights that differ in seed or training settings alone; "
            "make them with training.save=last"
        )
    yield from (Members(runs, device) for runs in several)


def single_runs(results_dir: Path, device: str = "auto") -> Iterator[Members]:
    """Every run with weights, by itself.

    Raises:
        UserError: there is none.
    """
    runs = list(filter(has_weights, trained(results_dir)))
    if not runs:
        raise UserError(f"{results_dir} holds no run with weights; make one with training.save=last")
    yield from (Members([run], device) for run in runs)


def adversarial_sets(task: str) -> tuple[str, ...]:
    """Raises UserError if AdvGLUE has none for the task."""
    from hype_bench.analysis.robustness import SETS

    if task not in SETS:
        raise UserError(f"AdvGLUE has no set for task {task}; it has {', '.join(SETS)}")
    return SETS[task]


def data_of(record: Record) -> TaskData:
    """The data of a run.

    Raises:
        UserError: they have changed since.
    """
    from hype_bench.tasks.data import load

    task = _task(record)
    data = load(task, DataConfig(**record.data).drawn(record.label.seed))
    if (data.fingerprint, data.labels) != tuple(record.parts.get(key) for key in ("data", "labels")):
        raise UserError(f"the data of {task.name} have changed since the runs were trained")
    return data


def _task(record: Record) -> TaskConfig:
    settings = record.task
    return TaskConfig(**{**settings, "source": _source(settings["source"])})


def _source(given: Mapping[str, Any] | None) -> SourceConfig | None:
    return None if given is None else SourceConfig(**given)


def _shared(values: list[Any]) -> Any:
    """The value that all share, or else every distinct value."""
    texts = {json.dumps(value): value for value in values}
    return values[0] if len(texts) == 1 else list(texts.values())
