"""What a technique leaves: a plain model, or one that ``from_pretrained`` could not read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from hype_bench.contract.method import Method
from hype_bench.options import UserError
from hype_bench.saving import no_plain_model


def check_plain(methods: Mapping[str, Method], way_out: str) -> None:
    """Raises UserError if the model that these techniques leave cannot be saved; ``way_out``: what to do then."""
    for name, method in methods.items():
        if method.unmerged:
            raise UserError(f"{name} {no_plain_model(method.unmerged)}: {way_out}")


def refuse_saving(methods: Mapping[str, Method], model: PreTrainedModel) -> None:
    """Lets ``save_pretrained`` complain if the model cannot be saved: its weights would load without a part."""
    if any(method.unmerged for method in methods.values()):
        model.__dict__["save_pretrained"] = partial(_refuse, methods)


def _refuse(methods: Mapping[str, Method], *args: Any, **kwargs: Any) -> None:
    check_plain(methods, "save its state_dict")
