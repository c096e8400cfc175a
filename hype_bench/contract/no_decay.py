"""Parameters that a technique has added, which are not to be pulled to 0."""

from __future__ import annotations

from typing import Any

from torch import nn


def spare_from_decay(groups: list[dict[str, Any]], model: nn.Module, *names: str) -> list[dict[str, Any]]:
    """The groups with those parameters whose own name is one of ``names`` in groups without weight decay."""
    return without_decay(groups, {p for name, p in model.named_parameters() if name.rpartition(".")[2] in names})


def without_decay(groups: list[dict[str, Any]], spared: set[nn.Parameter]) -> list[dict[str, Any]]:
    """The groups with the ``spared`` parameters in groups without weight decay."""
    others = [{**group, "params": [p for p in group["params"] if p not in spared]} for group in groups]
    own = [
        {**group, "params": chosen, "weight_decay": 0.0}
        for group in groups
        if (chosen := [p for p in group["params"] if p in spared])
    ]
    return [*others, *own]
