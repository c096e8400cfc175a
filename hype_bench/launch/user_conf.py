"""A user's own ``conf/`` beside the one that comes with the package: tasks, models, techniques, experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hype_bench.config import CONF
from hype_bench.options import UserError
from hype_bench.sweeps.grids import write

_FLAG = "--conf"
_KEY = "hydra.searchpath"


def with_user_conf(arguments: Sequence[str]) -> list[str]:
    """The command line with ``--conf DIR``, or a folder ``conf`` in the current one, as Hydra's search path.

    Where both have a file, the package's is used.

    Raises:
        UserError: ``--conf`` names no folder, or a search path is set as well.
    """
    folder, rest = _split(list(arguments))
    has_search_path = any(word.lstrip("+").startswith(f"{_KEY}=") for word in rest)
    if folder is None:
        beside = Path("conf").resolve()
        folder = beside if beside.is_dir() and beside != CONF and not has_search_path else None
    elif not folder.is_dir():
        raise UserError(f"{_FLAG} {folder}: no such folder")
    elif has_search_path:
        raise UserError(f"{_FLAG} and {_KEY} mean the same: give one of them")
    return rest if folder is None else [*rest, f"{_KEY}=[{write(f'file://{folder.resolve()}')}]"]


def _split(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for position, word in enumerate(arguments):
        name, has_value, value = word.partition("=")
        if name != _FLAG:
            continue
        if has_value:
            return Path(value).expanduser(), arguments[:position] + arguments[position + 1 :]
        if position + 1 == len(arguments):
            raise UserError(f"{_FLAG} takes a folder, as in {_FLAG} DIR")
        return Path(arguments[position + 1]).expanduser(), arguments[:position] + arguments[position + 2 :]
    return None, arguments
