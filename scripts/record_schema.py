"""The page ``docs/record_schema.md``: files of a run's folder and fields of its record, from their docstrings.

make docs      after a field has changed; a test compares
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hype_bench.runs import folder, predictions
from hype_bench.runs.check import SUMMED
from hype_bench.runs.record import Label, Record, Request, Scores

_INTRODUCTION = """\
# Records

Written by `make docs`. A run leaves a folder, `<results>/runs/<identity>/`, and nothing else counts: W&B, tables,
`load_results` and `<results>/records.cache` are made from it. `result.json` is written last and in one move, so that a
folder that has one is whole. A field that a version before lacked is optional, and unknown ones are ignored."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "record_schema.md"
_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null", Label: "object"}


def page() -> str:
    own = [f.name for f in fields(Record) if f.name not in {g.name for g in fields(Request)}]
    return "\n\n".join([
        _INTRODUCTION,
        _table(("file", ""), [(f"`{name}`", meaning) for name, meaning in _files()]),
        "`experiments/<name>.json` beside `runs/` is the last plan of an experiment: its runs and their cells.",
        "## run.json",
        _fields(Request, [f.name for f in fields(Request)]),
        "### label",
        _fields(Label, [f.name for f in fields(Label)]),
        "## result.json",
        "All of `run.json`, and:",
        _fields(Record, own),
        "### scores",
        "\n\n".join(_paragraphs(Scores)),
        "NaN is the string `\"nan\"`, here and in `curve`: JSON has no such number.",
        "### checksum",
        "Sixteen hexadecimal digits over " + ", ".join(f"`{name}`" for name in SUMMED) + ": a record whose digits "
        "differ was changed after it was written, and counts as broken. Without the field nothing is compared.",
        "## predictions.csv and test.csv",
        _paragraphs(predictions.evaluated)[1],
        "`test.csv` has the same columns without labels and predictions.",
    ]) + "\n"  # fmt: skip


def _files() -> Iterator[tuple[str, str]]:
    """What the docstring of ``hype_bench.runs.folder`` lists."""
    return (match.groups() for match in re.finditer(r"^    (\S+) {2,}(.+)$", folder.__doc__ or "", re.MULTILINE))  # type: ignore[misc]


def _fields(kind: type, names: Sequence[str]) -> str:
    hints, meanings = get_type_hints(kind), attributes(kind)
    return _table(("field", "type", "meaning"), [(f"`{name}`", _type(hints[name]), meanings[name]) for name in names])


def attributes(kind: type) -> dict[str, str]:
    """Field -> meaning, as the ``Attributes`` of a docstring have it."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    return {name: " ".join(text.split()) for name, text in re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, re.M)}


def _paragraphs(documented: Any) -> list[str]:
    text, _, _ = (inspect.getdoc(documented) or "").partition("\n\nAttributes:")
    return [" ".join(paragraph.split()).replace("``", "`") for paragraph in text.split("\n\n")]


def _type(hint: Any) -> str:
    """As JSON calls it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return " or ".join(map(_type, inner))
    if origin is Mapping:
        return "object" if inner[1] is Any else f"object of {_plural(inner[1])}"
    if origin is Sequence:
        return f"array of {_plural(inner[0])}"
    return "object of numbers" if hint is Scores else _NAMES[hint]


def _plural(hint: Any) -> str:
    first, *rest = _type(hint).split(" ")
    return " ".join([f"{first}s", *rest])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`").replace("->", "→")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
