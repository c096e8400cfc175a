"""The name of a run's cell: its identity without the seed, in words that W&B can group by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from hype_bench.choices import FILES, read_choice, usual_training
from hype_bench.config import DataConfig, ModelConfig, TrainingConfig, UserError
from hype_bench.options import Affects, affecting
from hype_bench.runs.record import Label
from hype_bench.runs.settings import short_names

_ALWAYS = ("learning_rate",)  # what nearly every experiment searches over
_TRAINING = affecting(TrainingConfig, Affects.IDENTITY)
_DATA = affecting(DataConfig, Affects.IDENTITY)


def cell_of(config: Mapping[str, Any], label: Label) -> str:
    """``bert_large/rte/hype_n/scale=0.0001,learning_rate=2e-05``: runs that differ in the seed alone have the same.

    Named are the learning rate, and whatever differs from what ``conf`` says: of each technique, of the recipe for this
    model and task, of the data.

    Args:
        config: a run's configuration as ``RunConfig.as_dict`` gives it and a record keeps it.
        label: what tables call the run.
    """
    named: dict[str, Any] = {}
    for group, place in (("method", "methods"), ("analysis", "analysis")):
        for name, options in config.get(place, {}).items():
            usual = read_choice(group, name)  # what is fed by another key, as scale by ${noise_scale}, is always named
            for key, value in options.items():
                if key not in usual or usual[key] != value:
                    named[f"{place}.{name}.{key}"] = value
    usual = _usual_training(config)
    for key, value in config["training"].items():
        is_usual = _listed(usual.get(key)) == _listed(value) or value is None  # None: its like says it, as max_steps
        if key in _ALWAYS or (key in _TRAINING and not is_usual):
            named[f"training.{key}"] = value
    named |= {f"task.{key}": PurePath(config["task"][key]).name for key in FILES if config["task"].get(key)}
    usual, data = vars(DataConfig()), config["data"]
    named |= {f"data.{key}": data[key] for key in _DATA if key in data and data[key] != usual[key]}
    words = ",".join(f"{name}={_word(named[key])}" for key, name in short_names(named).items())
    return "/".join([label.model, label.task, label.method, words])


def _usual_training(config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return usual_training(ModelConfig(**config["model"]), config["task"]["name"], config["recipe"])
    except UserError:  # a recipe that leaves open what the command line said
        return {}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_word, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
