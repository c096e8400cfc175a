"""Tables from files of the user's own: texts stay as they are written, and what cannot be read is told in one line."""

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
    """One table, by its ending: .csv, .tsv, .jsonl or .parquet; its index is the number of the row, from 0.

    An empty cell of a .csv or .tsv is a missing value, and nothing else is. Names of columns are texts.

    Raises:
        UserError: the file is not there, of no known ending, or not readable.
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
        ValueError: it is in some older encoding, which cannot be told apart from others.
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
    """Without pandas' guesses: "None", "NA" and "007" are texts, a surplus field is no row name, and a quote that does
    not end where its field ends is an error instead of a part of a longer field."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, **dialect)
    rows: list[list[str | None]] = []
    try:
        header = next(filter(None, reader), None)
        for row in filter(None, reader):  # a blank line is no row
            if header is not None and len(row) > len(header):
                raise ValueError(f"line {reader.line_num} has {len(row)} fields, and the header {len(header)}")
            rows.append([field or None for field in row])
    except csv.Error as error:
        raise ValueError(f"a quote that ends nowhere, or within a field, up to line {reader.line_num}") from error
    if header is None:
        raise ValueError("it is empty")
    if twice := _twice(header):
        raise ValueError(f"its header names {twice!r} twice")
    whole = (row + [None] * (len(header) - len(row)) for row in rows)
    return pd.DataFrame(list(whole), columns=_named(header), dtype=object)


def _twice(names: list[str]) -> str | None:
    return next((name for number, name in enumerate(names) if name and name in names[:number]), None)


def _named(header: Iterable[str]) -> list[str]:
    """A spreadsheet leaves columns without a name behind the others."""
    return [name or f"column {number}" for number, name in enumerate(header)]


def _read_json_lines(path: Path) -> pd.DataFrame:
    """One object per line; unlike pandas it takes no text for a date or a number."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no JSON object")
            rows.append(row)
    return pd.DataFrame(rows)


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame.reset_index(drop=frame.index.names == [None])  # an index with a name is a column to the user


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_delimited,
    ".tsv": lambda path: _read_delimited(path, delimiter="\t", quoting=csv.QUOTE_NONE),  # as GLUE's own files are
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
