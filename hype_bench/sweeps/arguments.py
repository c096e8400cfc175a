"""The command line as users type it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

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


def check_named_once(overrides: Iterable[str]) -> None:
    """Hydra composes ``method=[hype_n,hype_n]`` as ``method=hype_n`` and says nothing.

    Raises:
        UserError: a technique is named twice.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.get_key_element() == "method" and isinstance(named := override.value(), list):
            for name, count in Counter(map(str, named)).items():
                if count > 1:
                    raise UserError(f"{override.input_line} names {name} {count} times; name each technique once")
