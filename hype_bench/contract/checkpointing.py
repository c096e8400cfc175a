"""Gradient checkpointing that is switched on at a model: exact also with noise, and with several passes a loss."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from hype_bench.contract.forward_pass import ForwardPass


def checkpoint_exactly(model: PreTrainedModel, context: ForwardPass) -> None:
    """Until the run ends, what checkpointing computes again meets the noise of its own pass, also where it is switched
    on later."""

    def watch(model: nn.Module, args: Any) -> None:
        for module in model.modules():
            function = getattr(module, "_gradient_checkpointing_func", None)
            if isinstance(function, partial) and "context_fn" not in function.keywords:
                keywords = function.keywords | {"use_reentrant": False, "context_fn": context.checkpointed}
                module._gradient_checkpointing_func = partial(function.func, **keywords)  # type: ignore[assignment]
                context.cleanup.callback(setattr, module, "_gradient_checkpointing_func", function)

    context.until_finish(model.register_forward_pre_hook(watch))
