"""The family of a checkpoint, which decides its recipe."""

from __future__ import annotations

from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import locate
from hype_bench.options import UserError

_CHOICES = (
    "bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2", "deberta_v3", "modernbert", "distilbert", "albert",
)  # fmt: skip


def family_of(model: ModelConfig) -> str | None:
    """The recipe's family: that of the named choice, or read from the user's own checkpoint.

    Raises:
        UserError: there is no such family, or no such checkpoint.
    """
    if model.is_named_choice:
        _check(model.family)
        return model.family
    from hype_bench.models.pretrained import read_config

    return str(read_config(locate(model)).model_type).replace("-", "_")


def _check(family: str | None) -> None:
    if family is None or family in _CHOICES:
        return
    from transformers import CONFIG_MAPPING  # takes seconds: only for a family that no choice here has

    if family not in {name.replace("-", "_") for name in CONFIG_MAPPING}:
        raise UserError(f"there is no model.family {family!r}; the recipes know {', '.join(_CHOICES)}")
