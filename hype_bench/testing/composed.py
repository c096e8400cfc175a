"""Configurations and data for tests; each choice is composed and read once per test process."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

from hydra import compose, initialize_config_dir

from hype_bench.config import CONF, RunConfig, resolve
from hype_bench.tasks.data import TaskData, load

SHORT = ("tracker=none", "data.max_train_examples=48", "data.max_eval_examples=20")
_DATA: dict[str, TaskData] = {}


def composed(*overrides: str) -> RunConfig:
    """As ``run.py`` composes and resolves it."""
    return deepcopy(_composed(overrides))


def configured(*overrides: str) -> RunConfig:
    """48 examples, no tracker, and what the overrides say."""
    return composed(*SHORT, *overrides)


@cache
def _composed(overrides: tuple[str, ...]) -> RunConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(compose("config", list(overrides)))


def loaded(config: RunConfig) -> TaskData:
    """The data of that configuration. It is shared: read it only."""
    data = config.data.drawn(config.seed)
    key = repr((config.task, data))
    if key not in _DATA:
        _DATA[key] = load(config.task, data)
    return _DATA[key]
