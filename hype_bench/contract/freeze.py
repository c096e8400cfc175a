"""For techniques that decide which weights are trained."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from transformers import PreTrainedModel

from hype_bench.contract.context import Context


def train_only(model: PreTrainedModel, context: Context, wanted: Callable[[str, nn.Parameter], bool]) -> None:
    """Freezes every parameter that is not ``wanted(name, parameter)`` until the run ends; records how many train."""
    frozen = [p for name, p in model.named_parameters() if p.requires_grad and not wanted(name, p)]
    for parameter in frozen:
        parameter.requires_grad_(False)

    def undo() -> None:
        for parameter in frozen:
            parameter.requires_grad_(True)

    context.cleanup.callback(undo)
    context.facts["trained_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
