"""Which dropouts of a model the one setting "hidden dropout" drives, whatever its architecture calls them.

The architecture itself shows it: the hidden dropouts are whatever follows these entries of its configuration. A copy
without weights is built from the configuration with a marked probability in those entries; the dropouts that have it
are the hidden ones, be they modules or, as in BART, numbers that a layer passes to a function.
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

# For embeddings, the outputs of attention and feed-forward part, and the head. Left out, and so left alone: the
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
_MARK = 0.625048828125  # a probability that no configuration has


class Dropout(Protocol):
    """Its probability can be read and set: a ``nn.Dropout``, or a :class:`FunctionalDropout`."""

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
    """Sets the hidden dropout of a configuration, under the names of its architecture. An entry that is null follows
    another one and stays null."""
    for name in _ENTRIES:
        if type(getattr(config, name, None)) in (int, float):
            setattr(config, name, p)


def hidden_dropouts(model: PreTrainedModel) -> dict[str, Dropout]:
    """The dropouts that the hidden dropout sets, by name; none if the architecture has no such setting."""
    key = type(model), model.config.to_json_string(use_diff=False)
    if key not in _NAMES:
        _NAMES[key] = _marked_names(model)
    dropouts = all_dropouts(model)
    return {name: dropouts[name] for name in _NAMES[key]}


_NAMES: dict[tuple[type, str], list[str]] = {}  # building a copy takes 30 ms


def _marked_names(model: PreTrainedModel) -> list[str]:
    config = deepcopy(model.config)
    set_in_config(config, _MARK)
    with torch.device("meta"):
        marked: nn.Module = type(model)._from_config(config)
    return [name for name, dropout in all_dropouts(marked).items() if dropout.p == _MARK]


def all_dropouts(model: nn.Module) -> dict[str, Dropout]:
    """Every dropout, by name: modules, and numbers that a module keeps under a name with "drop" in it."""
    dropouts: dict[str, Dropout] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            dropouts[path] = module
        for name, value in vars(module).items():
            if "drop" in name and type(value) in (int, float):
                dropouts[f"{path}.{name}"] = FunctionalDropout(module, name)
    return dropouts


def dropout_probabilities(model: PreTrainedModel) -> dict[str, list[float]]:
    """The different probabilities that the modules of a model have: of its hidden dropouts, and of all others."""
    hidden = hidden_dropouts(model).keys()
    kinds: dict[str, set[float]] = {"hidden": set(), "other": set()}
    for name, dropout in all_dropouts(model).items():
        kinds["hidden" if name in hidden else "other"].add(dropout.p)
    return {kind: sorted(values) for kind, values in kinds.items()}


def check_hidden_dropout(model: PreTrainedModel, p: float, setting: str) -> None:
    """Raises:
    UserError: ``setting`` asks for a hidden dropout of ``p``, and the architecture has none.
    """
    if p > 0 and not hidden_dropouts(model):
        raise UserError(
            f"{setting}={p:g} would have no effect: {model.config.model_type} has no hidden dropout; set {setting}=0"
        )


def set_dropout(dropouts: Iterable[Dropout], p: float) -> Callable[[], None]:
    """Sets these dropouts to ``p``; returns what restores them."""
    before = [(dropout, dropout.p) for dropout in dropouts]
    for dropout, _ in before:
        dropout.p = p

    def restore() -> None:
        for dropout, old in before:
            dropout.p = old

    return restore
