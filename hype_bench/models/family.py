"""Which recipe a checkpoint takes."""

from __future__ import annotations

from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import locate


def family_of(model: ModelConfig) -> str | None:
    """The recipe's family: as the named choice says, or read from the user's own checkpoint."""
    if model.is_named_choice:
        return model.family
    from hype_bench.models.readable import read_config

    return str(read_config(locate(model)).model_type).replace("-", "_")
