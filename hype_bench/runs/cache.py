"""The records of a results folder in one file, so that a table of 100,000 runs need not open 100,000 files.

``<results>/records.cache`` is a cache and nothing else: it may be deleted at any time, and whatever is wrong with it
(read-only or full folder; broken, changed or missing file) makes an answer slower and never different. It is a Parquet
file behind its own digest, replaced in one move; a record is taken from it only while its ``result.json`` has the time
and the size with which it was stored.

It holds the fields of a record that tables and estimates read (``KEPT``), none of the long ones, and the seed in the
label alone. Records share the dictionaries in which they agree, since most of them differ in seed and scores alone:
read them, and change nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import marshal
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from hype_bench.options import UserError
from hype_bench.runs.reading import read_bytes
from hype_bench.runs.settings import without_seed
from hype_bench.runs.writing import write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

Content = dict[str, Any]  # the content of a result.json
Stamp = tuple[int, int]  # of result.json: time of the last change in ns, size in bytes

FILE = "records.cache"

_CELL = ("label", "parts", "config")  # the same for all runs of a cell, but for the seed
_OF_DATA = ("scored_rows", "subset", "absent", "dropped")
_SETUP = ("status", "reason", "predictions", "machine", *_OF_DATA, "warnings", "versions", "git")  # the same for most
_OWN = ("scores", "seconds", "updates", "tokens", "peak_memory_bytes")
KEPT = (*_CELL, *_SETUP, *_OWN)  # of a record; RunFolder.result has it whole

_COLUMNS = ("name", "mtime", "size", "cell", "setup", "own")
_SHARED = ("cell", "setup")
_DIGEST = 16  # bytes
_SETTLED = 3 * 10**9  # ns: a younger file may change again within the resolution of its time, and is not stored
WORTHWHILE = 100  # records: reading fewer takes less time than importing pyarrow


def stamp_of(result: str) -> Stamp | None:
    """What tells one version of a ``result.json`` from another; None if it cannot be looked at."""
    try:
        status = os.stat(result)  # noqa: PTH116  # a Path for each of 100,000 takes as long again
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def has_settled(stamp: Stamp | None) -> TypeGuard[Stamp]:
    """Whether the file is old enough that it cannot change again without another stamp."""
    return stamp is not None and time.time_ns() - stamp[0] > _SETTLED


class RecordCache:
    """For the time of one answer: ``find`` what is stored, ``keep`` what had to be read. Neither ever raises.

    Args:
        reads: number of records that will be asked for; for a few the file is neither read nor written.
    """

    def __init__(self, results_dir: str | Path, reads: int) -> None:
        self._path = Path(results_dir) / FILE
        self._stored = load_table(self._path, _key(), _SHARED) if reads >= WORTHWHILE else None
        self._rows: dict[str, tuple[Stamp, Content, Content, Content]] = {}
        if self._stored is not None:
            self._rows = _rows_of(self._stored)
        self._new: list[tuple[Any, ...]] = []
        self._shared: dict[str, dict[bytes, tuple[int, Content]]] = {name: {} for name in _SHARED}

    def __enter__(self) -> RecordCache:
        return self

    def __exit__(self, *error: object) -> None:
        if len(self._new) >= WORTHWHILE:
            store_table(self._path, _key(), _with(self._stored, self._table()))

    def find(self, name: str, stamp: Stamp | None) -> Content | None:
        """The record of a run, if it is stored as it is now."""
        row = self._rows.get(name)
        return _joined(*row[1:]) if row is not None and row[0] == stamp else None

    def keep(self, name: str, stamp: Stamp | None, record: Content) -> Content:
        """Stores a record for the next time, and returns it in the form that ``find`` has.

        Args:
            name: of the run; one that is not ASCII, as no run of hype_bench has, is not stored.
            stamp: taken before the record was read; None if it could not be.
        """
        (cell, shared_cell), (setup, shared_setup) = map(self._numbered, _SHARED, _common(record))
        own = {"seed": record["label"]["seed"]} | {key: record[key] for key in _OWN if key in record}
        if has_settled(stamp) and name.isascii():
            self._new.append((name, *stamp, cell, setup, json.dumps(own)))
        return _joined(shared_cell, shared_setup, own)

    def _numbered(self, name: str, part: Content) -> tuple[int, Content]:
        """The number of a part among those that differ, and the first equal one: records that agree in it share it."""
        shared = self._shared[name]
        content = marshal.dumps(part, 2)  # equal for equal parts, and made in half the time that JSON takes
        return shared.setdefault(content, (len(shared), part))

    def _table(self) -> pa.Table:
        """The new rows."""
        import pyarrow as pa

        columns: dict[str, Any] = dict(zip(_COLUMNS, map(list, zip(*self._new, strict=True)), strict=True))
        for name, shared in self._shared.items():
            texts = [json.dumps(part) for _, part in shared.values()]
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(columns[name], pa.int32()), texts)
        return pa.table(columns)


def _key() -> str:
    """Another one where other fields are kept, so that a file of another version is not read."""
    return ",".join(KEPT)


def _common(record: Content) -> tuple[Content, Content]:
    cell = {key: without_seed(record[key]) for key in _CELL}
    return cell, {key: record[key] for key in _SETUP if key in record}


def _joined(cell: Content, setup: Content, own: Content) -> Content:
    record = cell | setup | own
    record["label"] = cell["label"] | {"seed": record.pop("seed")}
    return record


def load_table(path: Path, key: str, shared: Sequence[str] = ()) -> pa.Table | None:
    """The table that :func:`store_table` wrote there under this key; None if there is none or it is not whole.

    Args:
        shared: columns that come as dictionaries of their different values.
    """
    try:
        content = read_bytes(path)
    except (OSError, UserError):
        return None
    digest, body = content[:_DIGEST], content[_DIGEST:]
    if digest != _digest(key, body):
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(body), read_dictionary=list(shared), pre_buffer=False)
    return file.read(use_threads=False)  # Arrow's threads, alive when Python ends, can abort it


def store_table(path: Path, key: str, table: pa.Table) -> None:
    """Writes a table in one move, if that can be done; else the next answer does it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    whole = {"dictionary_pagesize_limit": 2**30, "row_group_size": max(len(table), 1)}  # one dictionary for all rows
    pq.write_table(table, sink, compression="zstd", **whole)
    body = sink.getvalue().to_pybytes()
    with contextlib.suppress(OSError):
        write_atomically(path, _digest(key, body) + body)


def _digest(key: str, body: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + body, digest_size=_DIGEST).digest()


def _rows_of(table: pa.Table) -> dict[str, tuple[Stamp, Content, Content, Content]]:
    names, *stamp = (table.column(name).to_pylist() for name in ("name", "mtime", "size"))
    parts = []
    for name in _SHARED:
        column = table.column(name).combine_chunks()
        shared = list(map(json.loads, column.dictionary.to_pylist()))
        parts.append([shared[index] for index in column.indices.to_pylist()])
    own = json.loads(f"[{','.join(table.column('own').to_pylist())}]")  # at once: equal keys become one string
    return dict(zip(names, zip(zip(*stamp, strict=True), *parts, own, strict=True), strict=True))


def _with(stored: pa.Table | None, new: pa.Table) -> pa.Table:
    """The stored rows and the new ones, which replace those of the same name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if stored is None:
        return new
    others = stored.filter(pc.invert(pc.is_in(stored.column("name"), value_set=new.column("name"))))
    return pa.concat_tables([others, new]).unify_dictionaries()
