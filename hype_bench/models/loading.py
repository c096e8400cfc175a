"""Loads a tokenizer and a sequence classifier: pre-trained encoder, head drawn from a seed of its own."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.hidden_dropout import set_in_config
from hype_bench.models.readable import read_config, readable
from hype_bench.options import UserError


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own fast tokenizer."""
    with readable(checkpoint):
        return AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False)


def load_classifier(checkpoint: Checkpoint, outputs: int, dropout: float, head_seed: int) -> PreTrainedModel:
    """A sequence classifier in float32 on the CPU.

    The encoder's weights must all come from the checkpoint. Whatever the checkpoint has no fitting weights for
    outside the encoder (classifier, and for some families the pooler) is initialised from ``head_seed`` as
    the architecture prescribes.

    Args:
        outputs: classes, or 1 for a regression (mean squared error).
        dropout: hidden dropout probability, set in the configuration as the HyPe code does (methods.md 1.3), under
            the names that the architecture has for it.

    Raises:
        UserError: no model there, or an encoder weight is missing or has another shape.
    """
    config = read_config(checkpoint)
    with readable(checkpoint):
        config.num_labels = outputs
        set_in_config(config, dropout)
        config.problem_type = "regression" if outputs == 1 else "single_label_classification"
        torch.manual_seed(head_seed)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.location,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    mismatched = [key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]]
    prefix = f"{model.base_model_prefix}."
    unfit = [key for key in [*mismatched, *info["missing_keys"]] if key.startswith(prefix) and "pooler" not in key]
    if unfit:
        raise UserError(
            f"the weights at {checkpoint.location} do not fit a {config.model_type}: {len(unfit)} of the "
            f"encoder's tensors are missing or have another shape, {sorted(unfit)[0]} among them"
        )
    return model  # type: ignore[no-any-return]
