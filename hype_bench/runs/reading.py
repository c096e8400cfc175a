"""Reads the files of a results folder; tells broken content from a file system that fails."""

from __future__ import annotations

import errno
import json
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Any

from hype_bench.options import UserError

MOST = 2**28  # bytes; the plan of 100,000 runs has a tenth of that


class BrokenError(UserError):
    """The content of a file is not what was written."""


class UnreadableError(UserError):
    """The system cannot read a file now; its content may be valid."""


def read_text(path: Path, most: int = MOST, errors: str = "strict") -> str:
    """The text of a regular file in UTF-8. A FIFO or a device in its place is refused, where reading would hang.

    Args:
        most: bytes; what is larger is refused.
        errors: what to do with bytes that are no UTF-8, as ``bytes.decode`` has it.

    Raises:
        FileNotFoundError: there is none.
        BrokenError: it is no regular file, too large, or no UTF-8.
        UnreadableError: every other error of the system.
    """
    try:
        return read_bytes(path, most).decode(errors=errors)
    except UnicodeDecodeError as error:
        raise broken(path, "it is not UTF-8") from error


def read_bytes(path: Path, most: int = MOST) -> bytes:
    """The content of a regular file. Raises as :func:`read_text` does."""
    try:
        return _bytes(path, most)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:  # a file stands where its folder would be
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, which cannot be opened
            raise broken(path, "it is not a regular file") from error
        raise UnreadableError(f"{path} cannot be read ({error.strerror or error}); it is left alone") from error


def read_json(path: Path, most: int = MOST) -> Any:
    """The content of a JSON file. Raises as :func:`read_text` does; JSON that cannot be parsed is broken."""
    try:
        return json.loads(read_text(path, most))
    except RecursionError as error:
        raise broken(path, "it is nested too deeply") from error
    except UserError:
        raise
    except ValueError as error:
        raise broken(path, str(error)) from error


def broken(path: Path, why: str) -> BrokenError:
    return BrokenError(f"{path} is broken ({why})")


def _bytes(path: Path, most: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO is opened at once, and seen
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise broken(path, "it is not a regular file")
        if status.st_size > most:
            raise broken(path, f"it has more than {most:,} bytes")
        with FileIO(handle, closefd=False) as stream:
            return stream.readall()
    finally:
        os.close(handle)
