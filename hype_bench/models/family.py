"""Which recipe a checkpoint takes."""

from __future__ import annotations

from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import locate


def family_of(model: ModelConfig) -> str | None:
    """The recipe's family: as the named choice says, or read from the user's own checkpoint."""
    if model.is_named_choice:
        return model.family
    from transformers import AutoConfig  # seconds: only where a checkpoint has to be asked

    from hype_bench.models.readable import readable

    checkpoint = locate(model)
    with readable(checkpoint):
        return str(AutoConfig.from_pretrained(checkpoint.location).model_type).replace("-", "_")
