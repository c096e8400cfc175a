"""Whether settings fit the model and the data: asked before a run leaves anything on disk."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import PreTrainedModel

from hype_bench.config import TrainingSettings
from hype_bench.methods.base import Method, check_fit
from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.hidden_dropout import check_hidden_dropout
from hype_bench.models.packing import can_pack
from hype_bench.models.skeleton import skeleton
from hype_bench.options import UserError
from hype_bench.training.optimizer import total_steps


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
    """Raises UserError for packing or gradient checkpointing that the architecture lacks."""
    kind = model.config.model_type
    if settings.packing == "on" and not can_pack(model):
        raise UserError(f"training.packing=on cannot work for {kind}: not shown to equal padding; use auto or off")
    if settings.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(f"training.gradient_checkpointing=true cannot work for {kind}: it has none")


def check_warmup(examples: int, settings: TrainingSettings, is_asked_for: bool) -> list[str]:
    """What to tell of a warm-up that does not end within the run.

    Args:
        examples: of the training data.
        is_asked_for: whether the user gave the warm-up; the recipe's is only told.

    Raises:
        UserError: the user's own warm-up is longer than the run.
    """
    total, warmup = total_steps(examples, settings), settings.warmup_steps or 0
    if warmup <= total:
        return []
    said = f"training.warmup_steps={warmup} is longer than the run of {total} updates"
    if is_asked_for:
        raise UserError(f"{said}; give fewer, or training.warmup_ratio")
    return [f"{said}: its learning rate never reaches the recipe's"]
