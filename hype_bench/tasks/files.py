"""Tables from the user's own files: texts stay as they are written, and an unreadable file is one line."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from hype_bench.options import UserError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # "Unicode text" of a spreadsheet


def read_file(path: Path) -> pd.DataFrame:
    """One table, by its ending: .csv, .tsv, .jsonl or .parquet; its index is the row number, from 0.

    Only an empty cell of a .csv or .tsv is a missing value. Column names are text.

    Raises:
        UserError: the file does not exist, has an unknown ending, or is not readable.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise UserError(f"{path}: cannot read {ending or 'a file without ending'}; {', '.join(_READERS)} are known")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        frame = _READERS[ending](path)
    except Exception as error:  # each reader has its own family of exceptions
        raise UserError(f"{path}: not a readable {ending[1:]} file ({first_line(error)})") from error
    frame.columns = pd.Index([str(name).removeprefix("\ufeff") for name in frame.columns], dtype=object)
    return frame


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _text(path: Path) -> str:
    """The whole file, with or without a byte order mark.

    Raises:
        ValueError: it is in an older encoding, which cannot be detected reliably.
    """
    content = path.read_bytes()
    if content.startswith(_UTF_16):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise ValueError(
            f"line {line} is not UTF-8, byte 0x{byte:02x}: convert it, as in iconv -f latin1 -t utf-8 OLD > NEW"
        ) from error


def _read_delimited(path: Path, **dialect: Any) -> pd.DataFrame:
    """Without pandas' guesses: "None", "NA" and "007" are texts, a surplus field is no row name, and a quote that
    does not end where its field ends is an error instead of a part of a longer field."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, **dialect)
    rows: list[list[str | None]] = []
    try:
        header = next(filter(None, reader), None)
        for row in filter(None, reader):  # blank lines are skipped
            if header is not None and len(row) > len(header):
                raise ValueError(f"line {reader.line_num} has {len(row)} fields, but the header has {len(header)}")
            rows.append([field or None for field in row])
    except csv.Error as error:
        raise ValueError(f"a quote that ends nowhere, or within a field, up to line {reader.line_num}") from error
    if header is None:
        raise ValueError("it is empty")
    if duplicate := _first_duplicate(header):
        raise ValueError(f"its header names {duplicate!r} twice")
    filled = (row + [None] * (len(header) - len(row)) for row in rows)
    return pd.DataFrame(list(filled), columns=_named(header), dtype=object)


def _first_duplicate(names: list[str]) -> str | None:
    return next((name for number, name in enumerate(names) if name and name in names[:number]), None)


def _named(header: Iterable[str]) -> list[str]:
    """Spreadsheets may leave nameless columns at the end."""
    return [name or f"column {number}" for number, name in enumerate(header)]


def _read_json_lines(path: Path) -> pd.DataFrame:
    """One object per line; unlike pandas it never reads a text as a date or a number."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            rows.append(row)
    return pd.DataFrame(rows)


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame.reset_index(drop=frame.index.names == [None])  # a named index is a column to the user


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_delimited,
    ".tsv": lambda path: _read_delimited(path, delimiter="\t", quoting=csv.QUOTE_NONE),  # as in GLUE's own files
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
