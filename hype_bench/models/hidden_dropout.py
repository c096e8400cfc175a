"""Which dropouts of a model the one setting "hidden dropout" drives, whatever its architecture calls them.

An architecture says so itself: whatever in it follows these entries of its configuration. So a twin without weights is
made of the configuration with a probability of its own there, and the places where that turns up are the hidden
dropouts, be they modules or, as in BART, numbers that a layer hands to a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from hype_bench.options import UserError

# For embeddings, for what attention and feed-forward part put out, and for the head. Left out, and so left alone: the
# dropout of attention probabilities (but XLNet's `dropout` drives that too), XLNet's `summary_last_dropout` (HyPe code,
# main.py; methods.md 1.3), DeBERTa's `pooler_dropout`, Funnel's and BART's `activation_dropout`.
_ENTRIES = (
    "hidden_dropout_prob",
    "hidden_dropout",
    "dropout",
    "dropout_rate",
    "embedding_dropout",
    "mlp_dropout",
    "embd_pdrop",
    "resid_pdrop",
    "classifier_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
    "seq_classif_dropout",
)
_MARK = 0.625048828125  # a probability that nobody sets


class Dropout(Protocol):
    """A place with a probability that may be read and set: a ``nn.Dropout``, or a :class:`FunctionalDropout`."""

    p: float


@dataclass
class FunctionalDropout:
    """A probability that a module keeps as a number, for ``torch.nn.functional.dropout`` or an attention function."""

    module: nn.Module
    attribute: str

    @property
    def p(self) -> float:
        return float(getattr(self.module, self.attribute))

    @p.setter
    def p(self, value: float) -> None:
        setattr(self.module, self.attribute, value)


def set_in_config(config: Any, p: float) -> None:
    """Sets the hidden dropout of a configuration, under the names that its architecture has for it. An entry that is
    null follows another one and stays null."""
    for name in _ENTRIES:
        if type(getattr(config, name, None)) in (int, float):
            setattr(config, name, p)


def hidden_dropouts(model: PreTrainedModel) -> dict[str, Dropout]:
    """The places whose probability is the hidden dropout, by name; none if the architecture has no such thing."""
    config = deepcopy(model.config)
    set_in_config(config, _MARK)
    with torch.device("meta"):
        twin: nn.Module = type(model)._from_config(config)
    places = all_dropouts(model)
    return {name: places[name] for name, dropout in all_dropouts(twin).items() if dropout.p == _MARK}


def all_dropouts(model: nn.Module) -> dict[str, Dropout]:
    """Every place with a dropout, by name: modules, and numbers that a module keeps under a name with "drop" in it."""
    places: dict[str, Dropout] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            places[path] = module
        for name, value in vars(module).items():
            if "drop" in name and type(value) in (int, float):
                places[f"{path}.{name}"] = FunctionalDropout(module, name)
    return places


def check_hidden_dropout(model: PreTrainedModel, p: float, setting: str) -> None:
    """Raises:
    UserError: ``setting`` asks for a hidden dropout of ``p``, and the architecture has nothing that would obey.
    """
    if p > 0 and not hidden_dropouts(model):
        raise UserError(
            f"{setting}={p:g} would have no effect: {model.config.model_type} has no hidden dropout; set {setting}=0"
        )


def set_dropout(places: Iterable[Dropout], p: float) -> Callable[[], None]:
    """Sets these dropouts to ``p``; returns what sets them back."""
    before = [(place, place.p) for place in places]
    for place, _ in before:
        place.p = p

    def restore() -> None:
        for place, old in before:
            place.p = old

    return restore
