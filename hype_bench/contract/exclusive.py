"""What only one technique of a run may decide on."""

from __future__ import annotations

from enum import Enum


class Exclusive(Enum):
    """Two techniques that decide on the same member cannot be combined. A package of techniques may have an ``Enum``
    of its own beside this one."""

    OBJECTIVE = "the objective"
    PHASES = "the phases of the run"
    GRADIENT_MASK = "the gradient mask"
    HIDDEN_DROPOUT = "the hidden dropout"
    HIDDEN_NOISE = "the noise between the layers"
    LINEAR_MAPS = "how linear maps are used"
    OUTPUT_PROJECTION = "the output projection"
    HEAD_LOSS = "the loss of the head"
    TRAINED_WEIGHTS = "which weights are trained"
    TRAINED_ENTRIES = "which entries of the layers are trained"
    LEARNING_RATES = "the learning rates of the layers"
    OPTIMIZER_STEP = "the optimizer's step"
    WEIGHT_DECAY = "the weight decay"
    SCORED_WEIGHTS = "the weights that are scored"
    NOISED_PASS = "R3F's noised pass"
