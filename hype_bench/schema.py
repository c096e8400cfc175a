"""The typed schema of the composed configuration.

Hydra merges the YAML files under ``conf/`` and the command line into these dataclasses and checks types there;
:func:`hype_bench.config.resolve` checks limits. What a setting of ``training`` or ``data`` affects is declared with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from hype_bench.options import Affects, affecting, choice, device_name, flag, last_name, local, number

_LENGTH = Affects.NUMBERS | Affects.LENGTH
_PACE = Affects.ROUNDING | Affects.PACE
_ROWS = Affects.NUMBERS | Affects.ROWS

TIED = "tied"  # every seed draws another subset

REGRESSION_METRICS = ("pearson", "spearman", "pearson_spearman")
METRICS = ("accuracy", "f1", "accuracy_f1", "macro_f1", "matthews", *REGRESSION_METRICS)


@dataclass
class TrainingConfig:
    """How the weights are updated. ``None``: as the recipe says for this model family and task, so that what switches
    clipping off is a ``max_grad_norm`` of 0."""

    learning_rate: float | None = number(above=0, most=1)
    batch_size: int | None = number(least=1, affects=_LENGTH | Affects.PACE)
    epochs: float | None = number(above=0, most=10_000, affects=_LENGTH)  # more is a slip of the pen, and never ends
    max_steps: int | None = number(least=1, most=10_000_000, affects=_LENGTH)
    warmup_ratio: float | None = number(least=0, most=1)
    warmup_steps: int | None = number(least=0)
    weight_decay: float | None = number(least=0, most=1)
    adam_betas: list[float] | None = number(least=0, below=1)
    adam_epsilon: float | None = number(above=0, most=1)
    max_grad_norm: float | None = number(least=0)
    dropout: float | None = number(least=0, below=1)
    optimizer: str | None = choice(None, "adamw", "adamw_hf", "adam_without_bias_correction")
    precision: str = choice("fp32", "fp32", "tf32", "bf16", "fp16", affects=Affects.NUMBERS | Affects.PACE)
    gradient_accumulation_steps: int = number(1, least=1, affects=_PACE)
    gradient_checkpointing: bool = flag(affects=_PACE)
    packing: str = choice("auto", "auto", "on", "off", affects=_PACE)
    cuda_graphs: str = choice("auto", "auto", "off", affects=_PACE, added_later=True)
    evaluate_every: int = number(0, least=0, affects=Affects.PACE)
    save: str = choice("none", "none", "last", affects=Affects.NOTHING)


@dataclass
class DataConfig:
    root: str | None = local(what="a folder of this machine", affects=Affects.NOTHING)
    max_length: int = number(128, least=2, affects=Affects.NUMBERS | Affects.PACE)
    max_train_examples: int | None = number(least=1, affects=_ROWS | Affects.LENGTH)
    max_eval_examples: int | None = number(least=1, affects=_ROWS | Affects.PACE)
    selection_examples: int | None = number(least=1, affects=_ROWS | Affects.LENGTH)
    label_noise: float | None = number(above=0, most=1)
    label_noise_kind: str = choice("symmetric", "symmetric", "asymmetric")
    predict_test: bool = flag(affects=Affects.PACE)
    subset_seed: int | str = number(0, least=0, or_word=TIED)

    def drawn(self, seed: int) -> DataConfig:
        """With the subset of a run's seed, if every seed draws its own."""
        return replace(self, subset_seed=seed) if self.subset_seed == TIED else self


ROWS = affecting(DataConfig, Affects.ROWS)


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
    """``system``: whether the load of processor, memory and GPU is tracked; ``errors``: whether W&B gets a confusion
    matrix and a table of errors."""

    name: str = choice(MISSING, "wandb", "trackio", "none")
    project: str = "hype_bench"
    entity: str | None = None  # of both, conf/tracker/wandb.yaml asks W&B's own variables first
    system: bool = False
    errors: bool = False


@dataclass
class SeedsConfig:
    """``until=decided``: the seeds 1 to ``least`` for every cell, then one more at a time, up to ``most``, where a
    verdict is open; None: the seeds that the grids name."""

    until: str | None = choice(None, "decided")
    least: int = number(5, least=5)  # on fewer nothing is decided: stats.sequential.LEAST
    most: int = number(20, least=5)


@dataclass
class ExperimentConfig:
    """What belongs together: a union of grids, each ``axis -> values``. ``shared``: axes of every grid; ``scopes``: a
    scope's own values of axes; ``search``: the axes over which its table takes the best; ``table``: that of the paper.
    """

    name: str = "default"
    title: str = ""
    table: int | None = None
    search: list[str] = field(default_factory=list)
    seeds: SeedsConfig = field(default_factory=SeedsConfig)
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
    analysis: dict[str, Any] = field(default_factory=dict)
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
