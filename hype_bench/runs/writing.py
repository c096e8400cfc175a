"""Writes the files of a results folder, each in one move: a reader sees the old one or the whole new one."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hype_bench.options import UserError


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Says in one sentence that a results folder is full or cannot be written to.

    Raises:
        UserError: for every OSError of the block; it names the file, or ``path`` where the system names none.
    """
    try:
        yield
    except OSError as error:
        what = f"{error.strerror or error}: {error.filename or path}"
        raise UserError(f"the results folder cannot be written to: {what}") from error


def file_name(words: str) -> str:
    """Words as the name of a file, whatever the file system."""
    return "".join(letter if letter.isalnum() or letter in "_+.=-" else "_" for letter in words)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file in one move, readable for whom the umask says. A link in its place is replaced, not followed."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with scratch.open("xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def without_nan(value: Any) -> Any:
    """JSON has no NaN: it is written as the string "nan", which ``float`` reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return value
