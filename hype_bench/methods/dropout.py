"""For techniques that decide on the hidden dropout."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from hype_bench.models.layers import hidden_dropouts


def set_hidden_dropout(model: PreTrainedModel, p: float) -> Callable[[], None]:
    """Sets every hidden dropout (see :func:`hidden_dropouts`) to ``p``; returns what sets them back."""
    modules = list(hidden_dropouts(model).values())
    before = [module.p for module in modules]
    for module in modules:
        module.p = p

    def restore() -> None:
        for module, old in zip(modules, before, strict=True):
            module.p = old

    return restore
