"""What a technique is, and what it may know of its run: all that a technique of one's own imports."""

from hype_bench.contract.activations import change_input, change_output
from hype_bench.contract.attach import Attached, attach
from hype_bench.contract.card import Card
from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.exclusive import Exclusive
from hype_bench.contract.method import Backward, Groups, Hooks, Method, Weights
from hype_bench.contract.noise import NoiseSource
from hype_bench.contract.objective import (
    Batch,
    Criterion,
    Forward,
    Loss,
    forward_of,
    full,
    is_regression,
    objective,
    task_loss,
)
from hype_bench.contract.parts import Part
from hype_bench.contract.registry import build, discover, register
from hype_bench.options import UserError, choice, number

__all__ = [
    "Attached",
    "Backward",
    "Batch",
    "Card",
    "Composed",
    "Context",
    "Criterion",
    "Exclusive",
    "Forward",
    "Groups",
    "Hooks",
    "Loss",
    "Method",
    "NoiseSource",
    "Part",
    "UserError",
    "Weights",
    "attach",
    "build",
    "change_input",
    "change_output",
    "choice",
    "compose",
    "discover",
    "forward_of",
    "full",
    "is_regression",
    "number",
    "objective",
    "register",
    "task_loss",
]
