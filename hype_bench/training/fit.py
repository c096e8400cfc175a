"""Whether settings fit the model and the data, checked before a run leaves anything on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from hype_bench.config import TrainingSettings
from hype_bench.contract.compose import check_fit
from hype_bench.contract.method import Method
from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.hidden_dropout import check_hidden_dropout
from hype_bench.models.limits import positions, token_types
from hype_bench.models.loading import load_tokenizer
from hype_bench.models.packing import can_pack
from hype_bench.models.silence import silence_transformers
from hype_bench.models.skeleton import skeleton
from hype_bench.options import UserError
from hype_bench.tasks.data import Split, TaskData
from hype_bench.training.optimizer import total_steps
from hype_bench.training.tokens import Tokens, tokenise


def check_model(
    checkpoint: Checkpoint, outputs: int, settings: TrainingSettings, methods: Mapping[str, Method]
) -> None:
    """Raises UserError for a setting or an option of a technique that this architecture cannot take."""
    check_architecture(skeleton(checkpoint, outputs), settings, methods)


def check_architecture(model: PreTrainedModel, settings: TrainingSettings, methods: Mapping[str, Method]) -> None:
    """Raises UserError as :func:`check_model` does."""
    check_speed(model, settings)
    check_hidden_dropout(model, settings.dropout, "training.dropout")
    check_fit(methods, model)


def check_speed(model: PreTrainedModel, settings: TrainingSettings) -> None:
    """Raises UserError for packing or gradient checkpointing that the architecture does not support."""
    kind = model.config.model_type
    if settings.packing == "on" and not can_pack(model):
        raise UserError(
            f"training.packing=on is not available for {kind}: it has not been shown to equal padding; use auto or off"
        )
    if settings.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(f"training.gradient_checkpointing=true is not available for {kind}")


def check_length(model: PreTrainedModel, max_length: int) -> None:
    """Raises UserError for texts that may have more tokens than the model has positions."""
    most = positions(model)
    if most is not None and max_length > most:
        raise UserError(
            f"data.max_length={max_length} is more than the {most} positions of this {model.config.model_type}; "
            f"give data.max_length={most} or less"
        )


def check_texts(checkpoint: Checkpoint, data: TaskData, max_length: int) -> list[str]:
    """Warnings about the texts as tokens, which stay in the cache for the run.

    Raises:
        UserError: the checkpoint has no tokenizer that fits its model and these texts.
    """
    model = skeleton(checkpoint, data.outputs)
    check_length(model, max_length)
    splits = [data.train, *data.evaluation, *([data.selection] if data.selection else []), *data.test]
    with silence_transformers():
        tokenizer = load_tokenizer(checkpoint)
        if max_length <= (added := tokenizer.num_special_tokens_to_add(pair=len(data.train.texts) == 2)):
            raise UserError(f"data.max_length={max_length} leaves no room for text beside {added} special tokens")
        tokens = [tokenise(split, tokenizer, max_length) for split in splits]
    for split, split_tokens in zip(splits, tokens, strict=True):
        _check_tables(model, tokenizer, split, split_tokens)
    return _check_words(checkpoint, tokenizer, tokens[0])


def _check_tables(model: PreTrainedModel, tokenizer: Any, split: Split, tokens: Tokens) -> None:
    """Raises UserError for a token or a token type without a row in the model's tables."""
    rows, types = getattr(model.config, "vocab_size", None), token_types(model)
    largest = max(int(tokens.ids.max(initial=0)), tokenizer.pad_token_id or 0)
    if rows is not None and largest >= rows:
        raise UserError(
            f"the tokenizer gives {tokenizer.convert_ids_to_tokens(largest)!r} (split {split.name}) the id {largest}, "
            f"but the model has embeddings for {rows} tokens only: use a checkpoint whose tokenizer and weights belong "
            "together"
        )
    if tokens.types is not None and int(tokens.types.max(initial=0)) >= types:
        raise UserError(
            f"the tokenizer gives token type {tokens.types.max()} (split {split.name}), but the model has {types} types"
        )


def _check_words(checkpoint: Checkpoint, tokenizer: Any, train: Tokens) -> list[str]:
    """Warns if half of the words of the training split are unknown to the tokenizer."""
    added = tokenizer.encode("")  # some tokenizers add tokens that they do not list as special
    special = np.isin(train.ids, [*tokenizer.all_special_ids, *added])
    if special.all():
        raise UserError(f"the tokenizer of {checkpoint.location} knows none of the words in the training texts")
    unknown = int((train.ids == tokenizer.unk_token_id).sum()) if tokenizer.unk_token_id is not None else 0
    share = unknown / (unknown + int((~special).sum()))
    return [f"{share:.0%} of the words in the training texts are unknown to the tokenizer"] if share >= 0.5 else []


def check_warmup(examples: int, settings: TrainingSettings, is_asked_for: bool) -> list[str]:
    """Warns of a warm-up that does not end within the run.

    Args:
        examples: of the training data.
        is_asked_for: whether the user chose the warm-up; of the recipe's there is a warning only.

    Raises:
        UserError: the user's own warm-up is longer than the run.
    """
    total, warmup = total_steps(examples, settings), settings.warmup_steps or 0
    if warmup <= total:
        return []
    sentence = f"training.warmup_steps={warmup} is longer than the run of {total} updates"
    if is_asked_for:
        raise UserError(f"{sentence}; give fewer, or training.warmup_ratio")
    return [f"{sentence}: the learning rate never reaches the recipe's"]
