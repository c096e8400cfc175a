"""What a run may be told: the typed schema of the composed configuration, and every complaint about it.

Hydra merges the YAML files under ``conf/`` and the command line into the dataclasses below (types are checked
there); :func:`resolve` checks ranges and fills from the recipe what the user left open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from hype_bench.combinations import check_columns, check_files, check_pieces, check_splits
from hype_bench.options import UserError as UserError
from hype_bench.options import check_fields, choice, device_name, last_name, local, number

_PACKAGE = Path(__file__).resolve().parent
CONF = next(place / "conf" for place in (_PACKAGE, _PACKAGE.parent) if (place / "conf").is_dir())  # installed; checkout
REGRESSION_METRICS = ("pearson", "spearman", "pearson_spearman")
METRICS = ("accuracy", "f1", "accuracy_f1", "macro_f1", "matthews", *REGRESSION_METRICS)


@dataclass
class TrainingConfig:
    """How the weights are updated. ``None``: as the recipe says for this model family and task, so that what switches
    clipping off is a ``max_grad_norm`` of 0."""

    learning_rate: float | None = number(above=0, most=1)
    batch_size: int | None = number(least=1)
    epochs: float | None = number(above=0, most=10_000)  # more is a slip of the pen, and never ends
    max_steps: int | None = number(least=1, most=10_000_000)
    warmup_ratio: float | None = number(least=0, most=1)
    warmup_steps: int | None = number(least=0)
    weight_decay: float | None = number(least=0, most=1)
    adam_betas: list[float] | None = number(least=0, below=1)
    adam_epsilon: float | None = number(above=0, most=1)
    max_grad_norm: float | None = number(least=0)
    dropout: float | None = number(least=0, below=1)
    optimizer: str | None = choice(None, "adamw", "adamw_hf")
    precision: str = choice("fp32", "fp32", "tf32", "bf16", "fp16")
    gradient_accumulation_steps: int = number(1, least=1)
    gradient_checkpointing: bool = False
    packing: str = choice("auto", "auto", "on", "off")
    evaluate_every: int = number(0, least=0)
    save: str = choice("none", "none", "last")


@dataclass
class DataConfig:
    root: str | None = local(what="a folder of this machine")
    max_length: int = number(128, least=2)
    max_train_examples: int | None = number(least=1)
    max_eval_examples: int | None = number(least=1)
    selection_examples: int | None = number(least=1)
    predict_test: bool = False
    subset_seed: int = number(0, least=0)


@dataclass
class SourceConfig:
    """Where a task lies: on the hub, and as ``<data.root>/<folder>/<split>.parquet``."""

    hub: str = MISSING
    config: str | None = None
    folder: str = MISSING


@dataclass
class TaskConfig:
    name: str = MISSING
    version: int = 1
    source: SourceConfig | None = None
    train_file: str | None = local(what="a file of this machine")
    validation_file: str | None = local(what="a file of this machine")
    text_columns: list[str] = MISSING
    label_column: str = "label"
    labels: list[str] | None = None
    metric: str = choice(MISSING, *METRICS)
    train_split: str = "train"
    evaluation_splits: list[str] = MISSING
    test_splits: list[str] = field(default_factory=list)
    generated: bool = False

    @property
    def is_regression(self) -> bool:
        return self.metric in REGRESSION_METRICS


@dataclass
class ModelConfig:
    """``checkpoint`` is what the named choice stands for; ``name_or_path`` is the user's own hub id or folder."""

    name: str = MISSING
    checkpoint: str = MISSING
    family: str | None = None
    name_or_path: str | None = local(what="a hub id or a folder")
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def is_named_choice(self) -> bool:
        """Whether the user took the choice's own checkpoint, and with it its name and family."""
        return self.name_or_path in (None, self.checkpoint)

    @property
    def address(self) -> str:
        return self.name_or_path or self.checkpoint

    @property
    def label(self) -> str:
        """What tables call it: the choice's name, or the last part of the user's own address."""
        return self.name if self.is_named_choice else last_name(self.address)


@dataclass
class RecipeConfig:
    name: str = MISSING
    training: dict[str, Any] = MISSING
    families: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrackerConfig:
    name: str = choice(MISSING, "wandb", "none")
    project: str = "hype_bench"
    entity: str | None = None  # of both, conf/tracker/wandb.yaml asks W&B's own variables first


@dataclass
class ExperimentConfig:
    """What belongs together: a union of grids, each ``axis -> values``. ``shared``: axes of every grid; ``scopes``: a
    scope's own values of axes; ``search``: the axes over which its table takes the best; ``table``: that of the paper.
    """

    name: str = "default"
    title: str = ""
    table: int | None = None
    search: list[str] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)
    grids: list[dict[str, Any]] = field(default_factory=list)
    scopes: dict[str, Any] = field(default_factory=dict)


@dataclass
class ScopeConfig:
    """How much of an experiment: ``axes`` replace the experiment's own of the same name."""

    name: str = "paper"
    axes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    method: dict[str, Any] = field(default_factory=dict)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = number(1, least=0, below=2**32)
    noise_scale: float = number(1e-5, least=0)
    device: str = device_name("auto")
    results_dir: str = local("results", what="a folder of this machine")
    fail_fast: bool = False
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    scope: ScopeConfig = field(default_factory=ScopeConfig)


ConfigStore.instance().store(name="hype_bench_schema", node=Config)


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
    task, training = config.task, fill_training(config)
    check_columns(task.text_columns, task.label_column)
    check_files(task.source is not None or task.generated, task.train_file)
    check_splits(task.name, task.evaluation_splits, task.test_splits, config.data.predict_test)
    check_pieces(training.gradient_accumulation_steps, training.batch_size)
    if not config.method:
        raise UserError("method must name at least one technique, as in method=vanilla")
    for name, values in config.method.items():
        if not isinstance(values, dict | None):
            raise UserError(f"method.{name} takes options, as in method.{name}.option=value, not {values!r}")
    return RunConfig(
        model=config.model,
        task=task,
        methods={name: dict(values or {}) for name, values in config.method.items()},
        recipe=config.recipe.name,
        training=training,
        data=config.data,
        tracker=config.tracker,
        seed=config.seed,
        device=config.device,
        results_dir=config.results_dir,
        experiment=config.experiment.name,
    )


# What a more specific source says about one of a pair silences what a more general one said about the other.
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
    merged = OmegaConf.merge({"training": OmegaConf.structured(TrainingConfig)}, {"training": filled})
    typed: Any = OmegaConf.to_object(merged.training)  # a recipe's 3 and a user's 3.0 are the same run
    check_fields("training.", typed)
    filled = vars(typed)
    unset = [name for name, value in filled.items() if value is None]
    left_open = [n for n in unset if not any(n in p and any(filled.get(o) is not None for o in p) for p in _EITHER)]
    if left_open:
        raise UserError(f"training.{left_open[0]} is set neither by the recipe {config.recipe.name!r} nor by you")
    if len(filled["adam_betas"]) != 2:
        raise UserError(f"training.adam_betas must be two numbers, not {list(filled['adam_betas'])}")
    return TrainingSettings(**{**filled, "adam_betas": tuple(filled["adam_betas"])})
