"""The transformer inside of what others put around it."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import DataParallel
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from hype_bench.options import UserError


def unwrapped(model: Any) -> PreTrainedModel:
    """The ``transformers`` model inside of ``torch.compile``, DataParallel, DDP, PEFT or sentence-transformers.

    Raises:
        UserError: there is none.
    """
    if isinstance(model, PreTrainedModel):
        return model
    if isinstance(model, DataParallel | DistributedDataParallel):
        return unwrapped(model.module)
    if (original := getattr(model, "_orig_mod", None)) is not None:  # torch.compile
        return unwrapped(original)
    if (get_base := getattr(model, "get_base_model", None)) is not None:  # PEFT
        return unwrapped(get_base())
    if (inner := next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)) is not None:
        return inner
    raise UserError(f"techniques act on a transformers model, and a {type(model).__name__} has none inside")


def is_compiled(model: Any) -> bool:
    """Whether ``torch.compile`` has to do with it: what it compiled before does not know of hooks that came later."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in modules)
