"""A run on disk. ``result.json`` is written last and in one move, so its presence means that the run is done.

<results>/runs/<identity>/
    run.json          what was asked for, written at the start
    lock              held by the process that runs it, released by the system when that dies
    progress          how far it is, while it trains
    failure.txt       the traceback of the last attempt that crashed
    predictions.csv   one row per example of every scored split
    test.csv          one row per example of every test split that was predicted
    arrays.npz        what an analysis found, where that is more than scores
    weights.json      what is known of weights that were trained again, since they were not kept
    model/            the trained weights, with training.save=last
    result.json       the record
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from hype_bench.options import UserError, check_file_name
from hype_bench.runs.check import checksum_of
from hype_bench.runs.reading import BrokenError, broken, read_json, read_text
from hype_bench.runs.record import Record, Request
from hype_bench.runs.secrets import scrub_values
from hype_bench.runs.writing import without_nan, write_atomically, writing_to

_PATIENCE = 1.0  # seconds: asking whether a run is busy holds its lock for an instant
_OF_ATTEMPT = ("run.json", "progress", "failure.txt", "predictions.csv", "test.csv", "arrays.npz", "weights.json")
_OURS = (*_OF_ATTEMPT, "result.json")  # the files of a run
_SET_ASIDE = re.compile(r"result\.broken(-\d+)?\.json")
_SCRATCH = re.compile(rf"\.({'|'.join(map(re.escape, _OURS))})\.\w{{8}}")  # of a process that was killed as it wrote
_ATTEMPT = re.compile(rf"{'|'.join(map(re.escape, _OF_ATTEMPT))}|model|{_SCRATCH.pattern}")  # all but the record
_MODEL = re.compile(  # what ``save_pretrained`` writes
    r"README\.md|(generation_|tokenizer_)?config\.json|tokenizer\.json|special_tokens_map\.json|added_tokens\.json"
    r"|model.*\.safetensors(\.index\.json)?|vocab\.\w+|merges\.txt|.+\.model|chat_template\.jinja"
)
_TRACEBACK = 2**20  # bytes
_T = TypeVar("_T")


class BusyError(RuntimeError):
    """Another process holds this run's lock."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a run's lock."""

    pid: int
    host: str

    def is_stopped(self) -> bool:
        """Whether it is suspended, as by Ctrl+Z, as far as that can be seen from here."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return False
        return self.host == socket.gethostname() and fields.rpartition(")")[2].split()[0] in "tT"


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @classmethod
    def of(cls, results_dir: str | Path, identity: str) -> RunFolder:
        """Raises UserError for an identity that leads out of the results folder, as a plan of others may have."""
        check_file_name("a run", identity)
        return cls(Path(results_dir) / "runs" / identity)

    def result(self, parse: Callable[[Any], Record] = Record.from_json) -> Record | None:
        """The record, or None if the run is not done.

        Raises:
            BrokenError: ``result.json`` is no record.
            UnreadableError: the system does not give it now.
        """
        return self._read("result.json", parse)

    def request(self) -> Request | None:
        """What was asked for, or None if nobody wrote it down. Raises as :meth:`result`."""
        return self._read("run.json", Request.from_json)

    def failure(self) -> str | None:
        """The traceback of the last attempt, if it crashed. Raises as :meth:`result`."""
        try:
            return read_text(self.path / "failure.txt", _TRACEBACK, errors="replace")
        except FileNotFoundError:
            return None

    def _read(self, name: str, parse: Callable[[Any], _T]) -> _T | None:
        path = self.path / name
        try:
            return parse(read_json(path))
        except FileNotFoundError:
            return None
        except UserError:
            raise
        except ValueError as error:
            raise broken(path, str(error)) from error

    def has_started(self) -> bool:
        """Whether the folder holds a file of a run; one that cannot be listed may, and reading it says why."""
        try:
            return not {"lock", *_OURS}.isdisjoint(file.name for file in self.path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    @contextlib.contextmanager
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
            if self.path.is_symlink():
                raise UserError(f"{self.path} is a symbolic link, which is not written through; move it away")
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=patience, poll_interval=0.02)
            except Timeout:
                raise BusyError(str(self.path)) from None
        if patience:  # asking whether it is busy does not change who holds it
            with contextlib.suppress(OSError):
                (self.path / "lock").write_text(f"{os.getpid()} {socket.gethostname()}\n", encoding="utf-8")
        try:
            yield
        finally:
            lock.release()

    def holder(self) -> Holder | None:
        """The process that holds the lock, or held it last; None if the lock does not name one."""
        try:
            pid, host = read_text(self.path / "lock", 1000).split()
            return Holder(int(pid), host)
        except (OSError, ValueError):
            return None

    def is_busy(self) -> bool:
        """Whether another process holds the lock; asking takes it for an instant, which ``lock`` waits out."""
        if not (self.path / "lock").exists():
            return False
        try:
            with self.lock(patience=0):
                return False
        except BusyError:
            return True
        except UserError:  # a read-only folder: no process of this user can hold it
            return False

    def start(self, request: Request) -> str | None:
        """Writes ``run.json`` and removes what an unfinished attempt left behind. The caller holds the lock.

        Returns:
            A warning if there is a broken result, which is set aside and never deleted.

        Raises:
            UnreadableError: the system does not give ``result.json`` now, which may be a good record.
            UserError: the results folder cannot be written to.
        """
        warning = None
        with writing_to(self.path):
            try:
                self.result()
            except BrokenError as error:
                kept = _free_name(self.path / "result.broken.json")
                (self.path / "result.json").replace(kept)
                warning = f"{error}; it is kept as {kept.name}, and the run is repeated"
            self._remove_attempt(was_finished=warning is not None)
        self.write_json("run.json", request.to_json())
        return warning

    def remove(self) -> list[str]:
        """Removes what an unfinished attempt left behind, and the folder if it is empty then.

        Returns:
            The names of files that are not the run's, which stay.

        Raises:
            UserError: the results folder cannot be written to.
        """
        with writing_to(self.path):
            self._remove_attempt()
            left = sorted(path.name for path in self.path.iterdir() if path.name != "lock")
            if not left:
                (self.path / "lock").unlink(missing_ok=True)
                self.path.rmdir()
        return left

    def _remove_attempt(self, was_finished: bool = False) -> None:
        """Removes the files of an attempt except for its record; of a finished one only links and partial files.

        A link is removed, not its target.
        """
        model = self.path / "model"
        inside = [] if model.is_symlink() else [file for file in model.glob("*") if _MODEL.fullmatch(file.name)]
        files = [file for file in self.path.iterdir() if _ATTEMPT.fullmatch(file.name)]
        for file in [*files, *inside]:
            is_partial = file.is_symlink() or _SCRATCH.fullmatch(file.name)
            if is_partial or not (was_finished or file == model or file.is_dir()):
                file.unlink()
        if model.is_dir() and not any(model.iterdir()):
            model.rmdir()

    def share_model(self) -> None:
        """Makes the weights as readable as ``run.json``: safetensors writes them for the owner alone."""
        mode = (self.path / "run.json").stat().st_mode & 0o666
        for file in (self.path / "model").glob("*"):
            file.chmod(mode)

    def set_aside(self) -> list[str]:
        """The names of the broken records that were kept when the run was repeated."""
        return sorted(path.name for path in self.path.glob("result.broken*.json") if _SET_ASIDE.fullmatch(path.name))

    def write_record(self, record: Record) -> None:
        """Writes ``result.json`` with its checksum."""
        content = without_nan(scrub_values(record.to_json()))
        self.write_json("result.json", {**content, "checksum": checksum_of(content)})

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        self.write(name, json.dumps(without_nan(scrub_values(content)), indent=1, allow_nan=False) + "\n")

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file of the folder in one move: a reader sees the old one or the whole new one.

        Raises:
            UserError: the results folder is full or cannot be written to.
        """
        with writing_to(self.path):
            write_atomically(self.path / name, content)


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
