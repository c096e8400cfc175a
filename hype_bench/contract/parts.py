"""The parts of a run on which techniques act."""

from __future__ import annotations

from enum import IntEnum, auto


class Part(IntEnum):
    """What a technique changes, or reads while another may change it; in the order in which a run comes to it.

    Two techniques without a part in common compute the same in both orders.
    """

    INITIAL_WEIGHTS = auto()  # when techniques are prepared
    TRAINED_WEIGHTS = auto()  # which they are, when techniques are prepared
    DROPOUT = auto()  # its probabilities, when techniques are prepared
    LINEAR_MAPS = auto()  # which modules they are, and how they compute
    EMBEDDINGS = auto()  # the output of the embedding table
    LAYER_INPUTS = auto()
    LAYER_OUTPUTS = auto()
    HEAD_INPUTS = auto()  # of the output projection
    PARAMETER_GROUPS = auto()
    CRITERION = auto()
    LOSS = auto()  # the hook
    BACKWARD = auto()  # the hook
    GRADIENTS = auto()  # between clipping and the step
    WEIGHTS_BEFORE_STEP = auto()
    WEIGHTS_AFTER_STEP = auto()
