"""What a technique is, and what it may know of its run: all that a technique of one's own imports."""

from hype_bench.contract.card import Card
from hype_bench.contract.context import Batch, Context, NoiseSource
from hype_bench.contract.method import Attached, Forward, Hooks, Loss, Method, attach, compose
from hype_bench.contract.registry import build, discover, register
from hype_bench.options import UserError, choice, number

__all__ = [
    "Attached",
    "Batch",
    "Card",
    "Context",
    "Forward",
    "Hooks",
    "Loss",
    "Method",
    "NoiseSource",
    "UserError",
    "attach",
    "build",
    "choice",
    "compose",
    "discover",
    "number",
    "register",
]
