"""The command line as users type it."""

from __future__ import annotations

_MULTIRUN = ("-m", "--multirun")


def flags_first(arguments: list[str]) -> list[str]:
    """Moves ``-m`` to the front: Hydra 1.3's parser takes no values on both sides of a flag."""
    if any(argument in _MULTIRUN for argument in arguments):
        return ["--multirun", *(argument for argument in arguments if argument not in _MULTIRUN)]
    return arguments
