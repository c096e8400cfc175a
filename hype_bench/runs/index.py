"""The records of a results folder in one file, so that a table of 100,000 runs need not open 100,000 files.

``<results>/index.sqlite`` is a cache and nothing else: it may be deleted at any time, and whatever is wrong with it
(folder read-only or full; file broken, changed, locked, or of another layout) makes an answer slower and never
different. A record is taken from it only if its row is the one that was written, and its ``result.json`` still has the
time and the size with which it was stored.

Of a record there is what tables and estimates read (:func:`kept`), which leaves out what is long. Records share the
dictionaries in which they agree, since most of them differ in seed and scores alone: read them, and change nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock

Record = dict[str, Any]
Stamp = tuple[int, int]  # of result.json: time of the last change in ns, size in bytes

_ABOUT = ("label", "parts", "config")  # the same for all runs of a cell, but for the seed
_OFTEN_SAME = ("status", "reason", "predictions", "machine", "dropped", "warnings", "versions", "git")
_OWN = ("scores", "seconds", "updates", "tokens")
KEPT = (*_ABOUT, *_OFTEN_SAME, *_OWN)  # of a record; RunFolder.result has it whole
CHUNK = 900  # names in one question: SQLite before 3.32 takes 999

_LAYOUT = 2  # raised when the tables below, or what is stored in them, change
_SETTLED = 3 * 10**9  # ns: what is younger may change again within the resolution of its time, and is not stored
_WORTH = 100  # records: reading fewer than that costs less than it takes to notice
_BATCH = 2000  # records in one transaction, so that nobody waits long
_PATIENCE = 2.0  # seconds: no transaction of ours takes that long

_TABLES = (
    "CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS runs"
    " (name TEXT PRIMARY KEY, mtime INTEGER, size INTEGER, about BLOB, same BLOB, own TEXT, digest BLOB)",
)


def stamp_of(result: str) -> Stamp | None:
    """What tells one version of a ``result.json`` from another; None if it cannot be looked at."""
    try:
        found = os.stat(result)  # noqa: PTH116  # a Path for each of 100,000 takes as long again
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def kept(record: Record) -> Record:
    """What the index has of a record: ``KEPT``, and the seed in the label alone, lest all be different."""
    found = {key: record[key] for key in KEPT if key in record}
    for key in ("parts", "config"):
        if isinstance(found[key], dict):
            found[key] = {name: value for name, value in found[key].items() if name != "seed"}
    return found


class Index:
    """For the time of one answer: ``find`` what is known, ``keep`` what had to be read. Neither ever raises."""

    def __init__(self, results_dir: str | Path) -> None:
        self._path = Path(results_dir).absolute() / "index.sqlite"
        self._parts: dict[bytes, Any] = {}
        self._templates: dict[tuple[bytes, bytes], tuple[Record, list[str], bool]] = {}
        self._texts: dict[bytes, str] = {}
        self._runs: list[tuple[Any, ...]] = []
        self._is_broken, self._is_writable = False, True
        self._reader = self._open()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *error: object) -> None:
        if len(self._runs) >= _WORTH:
            self._write()
        self._close()

    def find(self, stamps: Mapping[str, Stamp]) -> dict[str, Record]:
        """The records of those of these runs (at most ``CHUNK``) that are stored as they are now."""
        if self._reader is None or not stamps:
            return {}
        names = [name for name in stamps if name.isascii()]
        try:
            question = f"SELECT * FROM runs WHERE name IN ({','.join('?' * len(names))})"
            rows = self._reader.execute(question, names).fetchall()
            fresh = [row for row in rows if stamps[row[0]] == row[1:3]]
            if any(_digest_of(row[:6]) != row[6] for row in fresh):
                raise ValueError("not the row that was stored")
            own = json.loads(f"[{','.join([row[5] for row in fresh])}]")  # at once: equal keys become one string
            return {row[0]: _joined(*self._common(row[3:5]), each) for row, each in zip(fresh, own, strict=True)}
        except (sqlite3.Error, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            self._is_broken = _says_broken(error)
            self._close()
            return {}

    def keep(self, name: str, stamp: Stamp | None, record: Record) -> Record:
        """Stores a record for the next time, and gives it back in the form that ``find`` has.

        Args:
            name: of the run; one that is not ASCII is none of ours and perhaps no text, and is not stored.
            stamp: taken before the record was read; None if it could not be.
        """
        record = kept(record)
        if not all(isinstance(record[part], dict) for part in _ABOUT):
            return record
        about, same, own = _split(record)
        keys = self._key(about), self._key(same)
        if stamp and self._is_writable and name.isascii() and time.time_ns() - stamp[0] > _SETTLED:
            row = name, *stamp, *keys, json.dumps(own)
            self._runs.append((*row, _digest_of(row)))
            if len(self._runs) >= _BATCH:
                self._write()
        return _joined(*self._common(keys), own)

    def _common(self, keys: tuple[bytes, bytes]) -> tuple[Record, list[str], bool]:
        """A record without its own values, the names of those, and whether its label has a seed."""
        if keys not in self._templates:
            about, (same, own, has_seed) = map(self._part, keys)
            self._templates[keys] = {**about, **same, **dict.fromkeys(own)}, own, has_seed
        return self._templates[keys]

    def _part(self, key: bytes) -> Any:
        if key not in self._parts and self._reader is not None:
            (text,) = self._reader.execute("SELECT text FROM texts WHERE key = ?", (key,)).fetchone()
            if _digest(text) != key:
                raise ValueError("not the text that was stored")
            self._parts[key] = json.loads(text)
        return self._parts[key]

    def _key(self, part: Any) -> bytes:
        text = json.dumps(part)
        key = _digest(text)
        self._texts[key] = text
        self._parts.setdefault(key, part)
        return key

    def _open(self) -> sqlite3.Connection | None:
        """To read only, which leaves the work of another process alone, whatever state that is in."""
        reader = None
        try:
            _refuse_what_is_no_file(self._path)
            reader = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
            if reader.execute("PRAGMA user_version").fetchone() == (_LAYOUT,):
                return reader
        except OSError:
            self._is_writable = False
        except sqlite3.Error as error:
            self._is_broken = _says_broken(error)
        if reader is not None:
            reader.close()
        return None

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _write(self) -> None:
        """Stores what was kept if it can be done now; else the next answer does it."""
        try:
            with FileLock(f"{self._path}.lock", timeout=0):  # one at a time writes, or takes a broken file away
                try:
                    self._store()
                except sqlite3.Error as error:
                    if not _says_broken(error):
                        raise
                    self._is_broken = True
                    self._store()
        except (OSError, NotImplementedError, sqlite3.Error):  # NotImplementedError: a file system without locks
            self._is_writable = False
        self._runs, self._texts = [], {}

    def _store(self) -> None:
        if self._is_broken:
            for path in (self._path, Path(f"{self._path}-journal")):
                path.unlink(missing_ok=True)
            self._is_broken = False
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))  # as readable as the records
        with closing(sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)) as writer, writer:
            writer.execute("BEGIN IMMEDIATE")
            if writer.execute("PRAGMA user_version").fetchone() != (_LAYOUT,):
                for table in ("runs", "texts"):
                    writer.execute(f"DROP TABLE IF EXISTS {table}")
                writer.execute(f"PRAGMA user_version = {_LAYOUT}")
            for table in _TABLES:
                writer.execute(table)
            writer.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", self._texts.items())
            writer.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", self._runs)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _digest_of(row: Sequence[Any]) -> bytes:
    return hashlib.blake2b(repr(row).encode(errors="surrogatepass"), digest_size=8).digest()


def _split(record: Record) -> tuple[Record, tuple[Record, list[str], bool], list[Any]]:
    """What the runs of a cell have in common; what most runs have, with the names of what is left; and that."""
    label, own = record["label"], [key for key in _OWN if key in record]
    seed = [label["seed"]] if "seed" in label else []
    about = {**{key: record[key] for key in _ABOUT}, "label": {**label, "seed": None} if seed else label}
    same = {key: record[key] for key in _OFTEN_SAME if key in record}
    return about, (same, own, bool(seed)), [*seed, *(record[key] for key in own)]


def _joined(common: Record, own: list[str], has_seed: bool, values: list[Any]) -> Record:
    record = common.copy()
    if has_seed:
        seed, *values = values
        record["label"] = {**record["label"], "seed": seed}
    record.update(zip(own, values, strict=True))
    return record


def _refuse_what_is_no_file(path: Path) -> None:
    """SQLite would wait for somebody to write to a FIFO.

    Raises:
        OSError: something other than a file has the name of the index, or of a file that SQLite puts beside it.
    """
    for name in [f"{path}{ending}" for ending in ("", "-journal", "-wal", "-shm")]:
        try:
            mode = os.lstat(name).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise OSError(f"{name} is not a regular file")


def _says_broken(error: Exception) -> bool:
    """Whether the file must be made anew; not if it is locked, cannot be opened, or the disk is full."""
    if isinstance(error, sqlite3.OperationalError):  # SQLITE_ERROR: the tables are not ours
        return getattr(error, "sqlite_errorname", "SQLITE_ERROR") == "SQLITE_ERROR"
    return True
