"""The command line as users type it."""

from __future__ import annotations

from typing import NoReturn

from hydra._internal.utils import get_args_parser

from hype_bench.options import UserError

_MULTIRUN = ("-m", "--multirun")


def flags_first(arguments: list[str]) -> list[str]:
    """Moves ``-m`` to the front: Hydra 1.3's parser takes no values on both sides of a flag."""
    if any(argument in _MULTIRUN for argument in arguments):
        return ["--multirun", *(argument for argument in arguments if argument not in _MULTIRUN)]
    return arguments


def check_flags(arguments: list[str]) -> None:
    """Has Hydra's own parser read the arguments, without the usage lines that it prints before it gives up.

    Raises:
        UserError: a flag that Hydra does not have, or one without its value.
    """

    def complain(message: str) -> NoReturn:
        raise UserError(f"{message}; python run.py --help says what there is")

    parser = get_args_parser()
    parser.add_argument("--fail-fast", action="store_true")  # ours; main() makes a value of it
    parser.error = complain  # type: ignore[method-assign]
    parser.parse_args(arguments)
