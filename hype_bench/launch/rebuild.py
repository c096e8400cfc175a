"""A run's configuration from its ``run.json``, without passing any text of that file to Hydra.

A results folder may come from somebody else, so only values of the typed schema are taken from it: no
interpolation, no ``hydra.*``, no flag, no ``_target_``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hype_bench.config import Config, TrainingConfig
from hype_bench.options import UserError
from hype_bench.runs.record import Request

_GROUPS = (
    "model",
    "task",
    "method",
    "analysis",
    "recipe",
    "tracker",
    "experiment",
    "scope",
)  # their choices are in the configuration
_OWN = {f.name for f in fields(TrainingConfig) if f.default is not None}  # what recipes do not set


def rebuild(request: Request, results_dir: Path) -> DictConfig:
    """The composed configuration of the run, which writes to ``results_dir``.

    Args:
        request: ``config``, as it was resolved, and ``overrides``, the words of the command; one that was changed since
            counts.

    Raises:
        UserError: something is not a value of the schema.
    """
    config, overrides = dict(request.config), list(request.overrides or [])
    if strange := next((text for text in _texts([config, overrides]) if "${" in text), None):
        raise UserError(f"{strange!r} is not a value")
    try:
        composed: DictConfig = OmegaConf.merge(OmegaConf.structured(Config), _sections(config))  # type: ignore[assignment]
        for key, value in _values(overrides):
            OmegaConf.update(composed, key, value)
        composed.results_dir = str(results_dir)
    except (OmegaConfBaseException, HydraException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(str(error).splitlines()[0]) from error
    return composed


def _sections(config: dict[str, Any]) -> dict[str, Any]:
    """The sections of :class:`Config`; what the recipe filled in is the recipe's again."""
    training, recipe, methods = (config.pop(name) for name in ("training", "recipe", "methods"))
    filled = {key: value for key, value in training.items() if key not in _OWN and value is not None}
    return {
        **config,
        "method": methods,
        "training": {key: value for key, value in training.items() if key in _OWN},
        "recipe": {"name": recipe, "training": filled},
        "experiment": {"name": config["experiment"]},
    }


def _values(words: list[str]) -> Iterator[tuple[str, Any]]:
    """The words that set one value each; choices of groups are in the configuration already."""
    for word in words:
        if word.startswith(("-", "+", "~")) or word.lstrip("'\"").startswith("hydra"):
            raise UserError(f"{word!r} is not allowed in a run that is repeated")
        override = OverridesParser.create().parse_override(word)
        if override.is_sweep_override():
            raise UserError(f"{word!r} is not one value")
        key = override.get_key_element()
        if key not in _GROUPS:
            yield key, override.value()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
