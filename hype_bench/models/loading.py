"""Loads a tokenizer and a sequence classifier: pre-trained encoder, head drawn from a seed of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.hidden_dropout import set_in_config
from hype_bench.models.limits import token_types
from hype_bench.models.pretrained import loading_errors, read_config
from hype_bench.models.skeleton import skeleton
from hype_bench.options import UserError


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own tokenizer; it gives token types only to a model that distinguishes them.

    Raises:
        UserError: there is none. From a folder without its files transformers makes a tokenizer without a vocabulary.
    """
    with loading_errors(checkpoint):
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False)
    if tokenizer.is_fast and tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise UserError(
            f"{checkpoint.location} has no tokenizer, or one without a vocabulary: "
            "put the checkpoint's tokenizer.json or its vocabulary beside the weights"
        )
    if token_types(skeleton(checkpoint, outputs=2)) < 2:
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    return tokenizer


def load_classifier(
    checkpoint: Checkpoint, outputs: int, dropout: float, head_seed: int, names: Sequence[str] = ()
) -> PreTrainedModel:
    """A sequence classifier in float32 on the CPU.

    The encoder's weights must all come from the checkpoint. Whatever the checkpoint has no fitting weights for
    outside the encoder (for some families the pooler) is initialised from ``head_seed`` as the architecture
    prescribes, and so is the layer that gives a value to each class, always: a head that comes with the checkpoint has
    learnt other classes, or these in another order.

    Args:
        outputs: classes, or 1 for a regression (mean squared error).
        dropout: hidden dropout probability, set in the configuration as the HyPe code does (methods.md 1.3), under
            the names of the architecture.
        names: of the classes in order, for the configuration; without them they are called 0, 1, ... (a regression's
            output is called ``score``).

    Raises:
        UserError: there is no model, or an encoder weight is missing or has another shape.
    """
    config = read_config(checkpoint)
    with loading_errors(checkpoint):
        config.id2label = dict(enumerate(names or (["score"] if outputs == 1 else map(str, range(outputs)))))
        config.label2id = {name: number for number, name in config.id2label.items()}
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
    _draw_classes(model, checkpoint, outputs, drawn={*mismatched, *info["missing_keys"]}, seed=head_seed)
    return model  # type: ignore[no-any-return]


def _draw_classes(model: PreTrainedModel, checkpoint: Checkpoint, outputs: int, drawn: set[str], seed: int) -> None:
    """Initialises anew the tensors that have a row for every class, unless loading has just ``drawn`` them."""
    shapes, wider = (
        {name: tensor.shape for name, tensor in skeleton(checkpoint, width).named_parameters()}
        for width in (outputs, outputs + 1)
    )
    came = [name for name, shape in shapes.items() if shape != wider[name] and name not in drawn]
    torch.manual_seed(seed)
    for module in map(model.get_submodule, dict.fromkeys(name.rpartition(".")[0] for name in came)):
        for parameter in module.parameters():
            parameter._is_hf_initialized = False  # type: ignore[attr-defined]  # or transformers keeps what was loaded
        model._init_weights(module)
