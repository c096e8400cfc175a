"""The numbers that the HyPe paper prints, cell by cell, beside this project's names for what they are.

``tables.yaml`` and ``settings.yaml`` hold them as printed; what is wrong in print stays, and a note says what is right.

Reference: Yuan et al. 2023, "HyPe: Better Pre-trained Language Model Fine-tuning with Hidden Representation
Perturbation", ACL 2023, https://aclanthology.org/2023.acl-long.182
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hype_bench.options import UserError

AVERAGE, GAIN = "average", "gain"

_NUMBER = re.compile(r"(?P<mean>[+-]?\d+\.\d+)(?:±(?P<std>\d+\.\d+))?(?:\^(?P<mark>[a-z]))?")


@dataclass(frozen=True)
class Published:
    """One printed number.

    Args:
        block: heading above some of the rows or columns (an encoder, a training set); None where there is none.
        row, column: as printed, a column without a heading named by what it holds.
        model, task, method: under ``conf/``, the parts of ``method`` joined by ``+`` in the order in which they nest.
            ``task`` is what is scored. None: a mean over several, or nothing of that name here.
        setting: what else the paper says of the cell: options of the method (``scale``, ``layers``, ``position``,
            ``dropout``; ``hype_n.scale`` in a combination), ``max_train_examples``, ``trained_on`` where that is
            another task than the scored one, ``split`` where it is not the development set.
        mean, std: in percent; ``std`` is None where none is printed, and the population's (n in the denominator).
        n: seeds behind the mean; None where the paper does not say.
        metric: of the task, or ``average`` or ``gain``; None where the paper does not say.
        quoted: whether the number was copied from another publication.
        note: what is wrong with the printed number, or where it comes from.
    """

    table: int
    block: str | None
    row: str
    column: str
    mean: float
    std: float | None = None
    model: str | None = None
    task: str | None = None
    method: str | None = None
    setting: Mapping[str, Any] = field(default_factory=dict, hash=False)
    n: int | None = None
    metric: str | None = None
    quoted: bool = False
    note: str | None = None

    @property
    def sample_std(self) -> float | None:
        """``std`` with n - 1 in the denominator, as tables here have it; None if it or n is not printed.

        Of the printed pairs of mean and std of accuracies over three runs, most fit whole numbers of right answers with
        the population's std alone and none with the sample's alone; a test enumerates them.
        """
        if self.std is None or self.n is None or self.n < 2:
            return None
        return self.std * math.sqrt(self.n / (self.n - 1))


def table(number: int) -> list[Published]:
    """All cells of a table of scores, in reading order.

    Raises:
        UserError: the paper has no such table of scores.
    """
    return list(_cells(number))


def cell(number: int, *, row: str, column: str, block: str | None = None) -> Published:
    """One cell by its printed names, in upper or lower case; ``block`` may be left out where it is not needed.

    Raises:
        UserError: there is no such cell (with the nearest name), or several blocks have one.
    """
    cells, place = table(number), f"Table {number}"
    for part, wanted in (("block", block), ("row", row), ("column", column)):
        if wanted is not None:
            names = [getattr(published, part) for published in cells]
            cells = [p for p, name in zip(cells, names, strict=True) if name and name.casefold() == wanted.casefold()]
            if not cells:
                raise UserError(f"{place} has no {part} {wanted!r}{_nearest(wanted, names)}")
            place += f", {part} {wanted!r}"
    if len(cells) > 1:
        blocks = ", ".join(repr(published.block) for published in cells)
        raise UserError(f"Table {number} has row {row!r} more than once; block must be one of {blocks}")
    return cells[0]


def settings(number: int) -> list[dict[str, Any]]:
    """The rows of a table of settings (10: GLUE, 11: training, 13: NLI sets, 14: labels, 15: hyper-parameters).

    Raises:
        UserError: the paper has no such table of settings.
    """
    printed = _look_up(number, _read("settings.yaml"), "settings")
    return [dict(zip(printed["columns"], row, strict=True)) for row in printed["rows"]]


@cache
def searched(model: str) -> dict[str, list[Any]]:
    """What the paper took the best over: ``learning_rate`` and ``technique.option`` -> the values it tried."""
    searches = _read("tables.yaml")["searches"]
    others = {f"{row['method']}.{row['option']}": row["values"] for row in settings(15)}
    return {**others, **searches["every"], **searches.get(model, {})}


@cache
def _cells(number: int) -> tuple[Published, ...]:
    book = _read("tables.yaml")
    printed = _look_up(number, book["tables"], "scores")
    names = book["names"] | printed.get("names", {})
    notes = book["notes"] | printed.get("notes", {})
    cells = []
    for block, row, column, value in _printed_numbers(printed):
        mean, std, mark = _parse(value)
        parts = [printed["about"], *(names[name] for name in (block, row, column) if name is not None)]
        parts += [names.get(f"{block} / {part}", {}) for part in (row, column)]
        about = _merge([*parts, {"note": notes[mark]} if mark else {}])
        cells.append(Published(number, block, row, column, mean, std, **about))
    return tuple(cells)


def _printed_numbers(printed: Mapping[str, Any]) -> Iterator[tuple[str | None, str, str, Any]]:
    """(block, row, column, what is printed there), empty places left out."""
    for block, rows in {None: printed.get("rows", {}), **printed.get("blocks", {})}.items():
        for row, values in rows.items():
            for column, value in zip(printed["columns"], values, strict=True):
                if value is not None:
                    yield block, row, column, value


def _parse(value: str | float) -> tuple[float, float | None, str | None]:
    """``90.07±0.67^a`` -> 90.07, 0.67, "a"."""
    match = _NUMBER.fullmatch(str(value))
    if match is None:
        raise ValueError(f"not a printed number: {value!r}")
    std = match["std"]
    return float(match["mean"]), None if std is None else float(std), match["mark"]


def _merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Later parts win, but settings and notes add up."""
    merged: dict[str, Any] = {}
    for part in parts:
        both = {"setting": merged.get("setting", {}) | part.get("setting", {})}
        if merged.get("note") and part.get("note"):
            both["note"] = f"{merged['note']}; {part['note']}"
        merged |= {**part, **both}
    return merged


def _look_up(number: int, tables: Mapping[int, Any], kind: str) -> Any:
    if number not in tables:
        raise UserError(f"the paper has no table {number} of {kind}; there are {', '.join(map(str, tables))}")
    return tables[number]


def _nearest(wanted: str, names: Iterable[str | None]) -> str:
    known = {name.casefold(): name for name in names if name}
    near = difflib.get_close_matches(wanted.casefold(), known, n=1, cutoff=0.0)
    return f"; the nearest is {known[near[0]]!r}" if near else ""


@cache
def _read(name: str) -> Any:
    import yaml  # here: who never looks at the paper does not pay for it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(Path(__file__).with_name(name).read_text(encoding="utf-8"), Loader=loader)
