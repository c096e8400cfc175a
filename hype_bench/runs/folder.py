"""A run on disk. ``result.json`` is written last and in one move: that it is there means that the run is done.

<results>/runs/<identity>/
    run.json          what was asked for, written at the start
    lock              held by the process that is at it, released by the system when that dies
    failure.txt       the traceback of the last attempt that crashed
    predictions.csv   one row per example of every scored split
    result.json       the record
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hype_bench.config import UserError
from hype_bench.runs.secrets import scrub_values

_NEEDED = {"status", "label", "parts", "config", "scores"}  # what tables and skipping read of a record
_PATIENCE = 1.0  # seconds: someone who only asks whether a run is busy holds its lock for an instant


class BusyError(RuntimeError):
    """Another process is at this run right now."""


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @classmethod
    def of(cls, results_dir: str | Path, identity: str) -> RunFolder:
        return cls(Path(results_dir) / "runs" / identity)

    def result(self) -> dict[str, Any] | None:
        """The record, or None if the run is not done.

        Raises:
            UserError: there is a ``result.json`` that cannot be read; it names it.
        """
        try:
            record = json.loads((self.path / "result.json").read_text(encoding="utf-8"))
            if not isinstance(record, dict) or not record.keys() >= _NEEDED:
                raise ValueError("not a record")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / 'result.json'} is broken ({error}); the run counts as not done") from error
        return record

    @contextmanager
    def lock(self, patience: float = _PATIENCE) -> Iterator[None]:
        """Holds the run; the end of the process, however it comes, releases it.

        Args:
            patience: seconds to wait for another process that holds it.

        Raises:
            BusyError: another process has it.
            UserError: the results folder cannot be written to.
        """
        lock = FileLock(self.path / "lock")
        with writing_to(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=patience, poll_interval=0.02)
            except Timeout:
                raise BusyError(str(self.path)) from None
        try:
            yield
        finally:
            lock.release()

    def is_busy(self) -> bool:
        """Whether a process is at it; asking holds the lock for an instant, which ``lock`` waits out."""
        if not (self.path / "lock").exists():
            return False
        try:
            with self.lock(patience=0):
                return False
        except BusyError:
            return True
        except UserError:  # a folder that we may only read: nobody of ours is at it
            return False

    def begin(self, request: dict[str, Any]) -> str | None:
        """Notes what was asked for, and forgets an old failure.

        Returns:
            What to tell the user if there is a broken result, which is set aside and never deleted.

        Raises:
            UserError: the results folder cannot be written to.
        """
        told, broken = None, self.path / "result.json"
        with writing_to(self.path):
            if broken.exists():
                kept = _free_name(self.path / "result.broken.json")
                broken.replace(kept)
                told = f"{broken} is broken; it is kept as {kept.name}, and the run is done again"
            (self.path / "failure.txt").unlink(missing_ok=True)
        self.write_json("run.json", request)
        return told

    def request(self) -> dict[str, Any] | None:
        try:
            request = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return request if isinstance(request, dict) else None

    def failure(self) -> str | None:
        """The traceback of the last attempt, if it crashed."""
        try:
            return (self.path / "failure.txt").read_text(encoding="utf-8")
        except OSError:
            return None

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        self.write(name, json.dumps(_without_nan(scrub_values(content)), indent=1, allow_nan=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Writes a file of the folder in one move: a reader sees the old one or the whole new one.

        Raises:
            UserError: the results folder is full or cannot be written to.
        """
        with writing_to(self.path):
            write_atomically(self.path / name, text)


@contextmanager
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


def write_atomically(path: Path, text: str) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: it is written as the string "nan", which ``float`` reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
