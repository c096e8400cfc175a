"""A model without weights, from a checkpoint's configuration alone: it shows in milliseconds what would not fit."""

from __future__ import annotations

from functools import lru_cache

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.pretrained import loading_errors, read_config


@lru_cache(maxsize=4)
def skeleton(checkpoint: Checkpoint, outputs: int) -> PreTrainedModel:
    """The classifier on the meta device: every module and every shape, but no values. It is shared: do not change it.

    Raises:
        UserError: there is no configuration, or none of a sequence classifier.
    """
    config = read_config(checkpoint)
    with loading_errors(checkpoint), torch.device("meta"):
        config.num_labels = outputs
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    return model
