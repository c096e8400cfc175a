"""What the rows of a table of runs are called: a method and the settings in which it differs from other rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hype_bench.choices import FILES
from hype_bench.runs.record import Request
from hype_bench.runs.settings import OF_METHOD, SUBSET, options, short_names
from hype_bench.tables.cells import Row

_Place = tuple[str, str, str]  # method, task, variant
_Flat = Mapping[str, str]  # setting -> value, as text

_SHOWN = {"data": 8, "reads": 9, "model": len("content:") + 8}  # characters of what is or may be a hash


def flat_settings(about: Request) -> dict[str, str]:
    """A run's settings as they are written on the command line; of hashes the first digits."""
    return {key: _text(value)[: _SHOWN.get(key)] for key, value in options(about.parts, about.config).items()}


def rows_of(places: Iterable[_Place], flats: Mapping[str, _Flat]) -> dict[_Place, Row]:
    """The row of every cell, named by the settings in which it differs from others."""
    places = list(places)
    names = _names(places, flats)
    rows: dict[_Place, Row] = {}
    taken: set[tuple[Row, str]] = set()
    for method, task, variant in places:
        flat = flats[variant]
        row = Row(method, tuple((name, flat[key]) for key, name in names[method].items() if key in flat))
        if (row, task) in taken:  # they differ in something that is not named, such as the 16th digit of a number
            row = Row(method, (*row.settings, ("variant", variant[:8])))
        taken.add((row, task))
        rows[method, task, variant] = row
    return rows


def _names(places: Iterable[_Place], flats: Mapping[str, _Flat]) -> dict[str, dict[str, str]]:
    """For each method the settings that its rows name, and how.

    Settings of the training and the data are compared across all methods of a task, so that no two rows look
    comparable that are not; those of a method among its own runs on a task.
    """
    of_task: dict[str, list[_Flat]] = defaultdict(list)
    of_method: dict[tuple[str, str], list[_Flat]] = defaultdict(list)
    for method, task, variant in places:
        of_task[task].append(flats[variant])
        of_method[method, task].append(flats[variant])
    shared = {key for members in of_task.values() for key in _differing(members) if not key.startswith(OF_METHOD)}
    own: dict[str, set[str]] = defaultdict(set)
    for (method, _), members in of_method.items():
        own[method].update(key for key in _differing(members) if key.startswith(OF_METHOD))
    return {method: short_names([*sorted(keys), *sorted(shared)]) for method, keys in own.items()}


def _differing(flats: Sequence[_Flat]) -> set[str]:
    """The settings in which some differ; the data by its hash only where no words tell two data sets apart."""
    keys = {key for flat in flats for key in flat}
    different = {key for key in keys if len({flat.get(key) for flat in flats}) > 1}
    if len({flat["subset_seed"] for flat in flats if "subset_seed" in flat}) < 2:  # a subset beside the full data
        different.discard("subset_seed")
    hashes: dict[tuple[str | None, ...], set[str | None]] = defaultdict(set)
    for flat in flats:
        hashes[tuple(flat.get(key) for key in (*SUBSET, *FILES))].add(flat.get("data"))
    if "data" not in different:  # other words for the same rows
        return different - {*SUBSET, *FILES}
    return different if any(len(of_words) > 1 for of_words in hashes.values()) else different - {"data"}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if value is None:
        return "null"  # as it is written on the command line
    if isinstance(value, float):
        return f"{value:.15g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)
