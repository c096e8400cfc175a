"""From a composed configuration to the settings of one run: every complaint about it, and what the recipe fills in."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from hype_bench.combinations import check_columns, check_files, check_pieces, check_splits
from hype_bench.options import UserError as UserError
from hype_bench.options import check_fields
from hype_bench.schema import METRICS as METRICS
from hype_bench.schema import REGRESSION_METRICS as REGRESSION_METRICS
from hype_bench.schema import ROWS as ROWS
from hype_bench.schema import TIED as TIED
from hype_bench.schema import Config as Config
from hype_bench.schema import DataConfig as DataConfig
from hype_bench.schema import ModelConfig as ModelConfig
from hype_bench.schema import RecipeConfig as RecipeConfig
from hype_bench.schema import SourceConfig as SourceConfig
from hype_bench.schema import TaskConfig as TaskConfig
from hype_bench.schema import TrackerConfig as TrackerConfig
from hype_bench.schema import TrainingConfig as TrainingConfig

_PACKAGE = Path(__file__).resolve().parent
CONF = next(place / "conf" for place in (_PACKAGE, _PACKAGE.parent) if (place / "conf").is_dir())  # installed; checkout


@dataclass(frozen=True)
class TrainingSettings:
    """:class:`TrainingConfig` after the recipe: nothing is open any more.

    Exactly one of ``epochs``/``max_steps`` and one of ``warmup_ratio``/``warmup_steps`` is set.
    """

    learning_rate: float
    batch_size: int
    epochs: float | None
    max_steps: int | None
    warmup_ratio: float | None
    warmup_steps: int | None
    weight_decay: float
    adam_betas: tuple[float, float]
    adam_epsilon: float
    max_grad_norm: float
    dropout: float
    optimizer: str
    precision: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    packing: str
    cuda_graphs: str
    evaluate_every: int
    save: str


@dataclass(frozen=True)
class RunConfig:
    """One run, checked: what :func:`resolve` returns and everything else reads."""

    model: ModelConfig
    task: TaskConfig
    methods: dict[str, dict[str, Any]]
    recipe: str
    training: TrainingSettings
    data: DataConfig
    tracker: TrackerConfig
    seed: int
    device: str
    results_dir: str
    experiment: str
    analysis: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def resolve(composed: DictConfig) -> RunConfig:
    """Checks a composed configuration and fills in the recipe.

    Raises:
        UserError: a value out of range (with the allowed one), a missing value, a combination that cannot work.
    """
    try:
        config = OmegaConf.to_object(composed)
    except MissingMandatoryValue as error:
        missing = min(OmegaConf.missing_keys(composed))
        raise UserError(f"{missing} must be given, as in {missing}=...") from error
    assert isinstance(config, Config)
    check_fields("", config)
    for name in ("model", "task", "recipe", "tracker", "data", "training"):
        check_fields(f"{name}.", getattr(config, name))
    _check_tracker(config.tracker)
    task, training = config.task, fill_training(config)
    check_columns(task.text_columns, task.label_column)
    check_files(task.source is not None or task.generated, task.train_file)
    check_splits(task.name, task.evaluation_splits, task.test_splits, config.data.predict_test)
    check_pieces(training.gradient_accumulation_steps, training.batch_size)
    if not config.method:
        raise UserError("method must name at least one technique, as in method=vanilla")
    methods, analysis = _named("method", config.method), _named("analysis", config.analysis)
    return RunConfig(
        model=config.model,
        task=task,
        methods=methods,
        recipe=config.recipe.name,
        training=training,
        data=config.data,
        tracker=config.tracker,
        seed=config.seed,
        device=config.device,
        results_dir=config.results_dir,
        experiment=config.experiment.name,
        analysis=analysis,
    )


def _check_tracker(tracker: TrackerConfig) -> None:
    if tracker.name == "trackio" and find_spec("trackio") is None:
        raise UserError("tracker=trackio needs a package: pip install 'hype-bench[trackio]'")
    if tracker.errors and tracker.name == "trackio":
        raise UserError("tracker.errors is an option of tracker=wandb")


def _named(group: str, chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> options of what is chosen of a group."""
    for name, values in chosen.items():
        if not isinstance(values, dict | None):
            raise UserError(f"{group}.{name} takes options, as in {group}.{name}.option=value, not {values!r}")
    return {name: dict(values or {}) for name, values in chosen.items()}


_TRAINING = OmegaConf.create({"training": TrainingConfig})

# A more specific source that sets one of a pair overrides the other from a more general source.
_EITHER = (("epochs", "max_steps"), ("warmup_ratio", "warmup_steps"))


def fill_training(config: Config) -> TrainingSettings:
    """The training settings of one run, from general to special: recipe, family, task, model, user."""
    family = config.recipe.families.get(config.model.family or "", {})
    tasks = family.get("tasks", {})
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("recipe.training", config.recipe.training),
        (f"recipe.families.{config.model.family}.training", family.get("training", {})),
        (f"recipe.families.{config.model.family}.tasks.{config.task.name}", tasks.get(config.task.name, {})),
        ("model.training", config.model.training),
        ("training", asdict(config.training)),
    ]
    filled: dict[str, Any] = {}
    for where, layer in layers:
        given = {key: value for key, value in layer.items() if value is not None}
        for name in given.keys() - {f.name for f in fields(TrainingConfig)}:
            raise UserError(f"{where}.{name} is not a training setting")
        for pair in _EITHER:
            if len(given.keys() & set(pair)) == 2:
                raise UserError(f"{where} sets both {pair[0]} and {pair[1]}; give one of them")
            if given.keys() & set(pair):
                filled.update(dict.fromkeys(pair))
        filled.update(given)
    filled = vars(_typed(filled))
    unset = [name for name, value in filled.items() if value is None]
    left_open = [n for n in unset if not any(n in p and any(filled.get(o) is not None for o in p) for p in _EITHER)]
    if left_open:
        raise UserError(f"training.{left_open[0]} is set neither by the recipe {config.recipe.name!r} nor by you")
    if len(filled["adam_betas"]) != 2:
        raise UserError(f"training.adam_betas must be two numbers, not {list(filled['adam_betas'])}")
    return TrainingSettings(**{**filled, "adam_betas": tuple(filled["adam_betas"])})


_TYPED: dict[str, TrainingConfig] = {}  # a plan has few settings among thousands of runs


def _typed(filled: Mapping[str, Any]) -> TrainingConfig:
    """The settings with their types: a recipe's 3 and a user's 3.0 are the same run.

    Raises:
        UserError: a value out of range.
    """
    written = repr(sorted(filled.items()))
    if written not in _TYPED:
        schema = deepcopy(_TRAINING)
        for name, value in filled.items():
            schema.training[name] = value
        typed: Any = OmegaConf.to_object(schema.training)
        check_fields("training.", typed)
        _TYPED[written] = typed
    return _TYPED[written]
