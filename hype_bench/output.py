"""Printing, to a terminal, a table or a spreadsheet: no text from a name or a file is executed there."""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections.abc import Iterable
from typing import TextIO

# Control characters, line separators, marks that turn the direction of writing, and halves of characters.
_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@")  # how a spreadsheet's formula begins
_NUMBERS = re.compile(r"(?:[-+.,\s\[\]()±;\d]|(?<=\d)e(?=[-+\d]))*|[-+]?(?:nan|inf)")
_IN_ASCII = {"±": "+-", "…": "...", "→": "->"}
_ERRORS = "hype_bench"  # the name of our error handler for encodings


def inert(text: str) -> str:
    """The text on one line, control characters written as escapes: ``\\x1b[31m``."""
    return _ACTS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def say(*lines: str, to: TextIO | None = None) -> None:
    """Prints lines, on standard output by default; a line break inside one is escaped."""
    print("\n".join(map(inert, lines)), file=to or sys.stdout, flush=True)


def show(text: str, to: TextIO | None = None) -> None:
    """Prints a text of several lines."""
    say(*text.split("\n"), to=to)


def speak_any_encoding() -> None:
    """Standard output and error replace what their encoding lacks (``±`` by ``+-``) instead of failing."""
    codecs.register_error(_ERRORS, _in_other_words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def to_csv(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV. A text that a spreadsheet would run as a formula begins with an apostrophe; numbers stay numbers."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _csv_cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = inert(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _NUMBERS.fullmatch(text) else text


def _in_other_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    words = (_IN_ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in lacking)
    return "".join(words), error.end
