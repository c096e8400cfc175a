"""An experiment as a union of grids: which runs it is made of, and which cell of its table each belongs to."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hype_bench.options import UserError

Axes = dict[str, list[str]]  # axis -> its values, as they are written on the command line

_LABELS = ("row", "block")  # what a grid may say beside its axes: names for a row and a block of the table
# Axes that name no setting:
_ELSEWHERE = {
    "model",
    "task",
    "method",
    "analysis",
    "analysis.probing.task",
    "seed",
    "results_dir",
    "device",
    "recipe",
    "tracker",
}
OPTIONAL = ("method", "analysis")  # groups of which a point may lack a choice that another has, and its options
_NAME = re.compile(r"[^\[\]{}\s,'\"]+")
_PLAIN = re.compile(r"[\w./:+-]+", re.ASCII)
_SHORT = {"noise_scale": "scale"}


@dataclass(frozen=True)
class Point:
    """One run of a grid. ``values``: axis -> value, as on the command line; ``row``, ``block``: as the grid says."""

    values: tuple[tuple[str, str], ...]
    row: str | None = None
    block: str | None = None

    @property
    def overrides(self) -> list[str]:
        return [f"{axis}={value}" for axis, value in self.values]

    def without(self, axes: Collection[str]) -> tuple[tuple[str, str], ...]:
        """The point's values on all other axes."""
        return tuple((axis, value) for axis, value in self.values if axis not in axes)

    def settings(self, axes: Iterable[str]) -> dict[str, str]:
        """The point's values on some axes, under short names: ``{"scale": "0.0001", "layers": "lowest:6"}``."""
        values = dict(self.values)
        return {_SHORT.get(axis, axis.rpartition(".")[2]): values[axis] for axis in axes if axis in values}


def expand(experiment: Mapping[str, Any], scope: Mapping[str, Any], given: Axes) -> list[Point]:
    """All points of all grids, each once, in the order of the grids.

    Args:
        experiment: ``shared``, ``grids`` and ``scopes`` as in ``conf/experiment``; without grids, one that has no axes.
        scope: its ``axes`` replace the grids' of the same name and are added where there is none.
        given: axes from the command line, which replace both; but of the methods only those named are kept, and one
            that no grid has gets a grid of the shared axes. An option of a technique or analysis is left out of points
            that do not choose it.

    Raises:
        UserError: an axis without values.
    """
    narrowed = _written(experiment.get("scopes", {}).get(scope["name"], {}))

    def axes_of(grid: Mapping[str, Any]) -> Axes:
        axes = _written(experiment.get("shared", {}))
        axes |= _written({axis: values for axis, values in grid.items() if axis not in _LABELS})
        axes |= _written(scope["axes"])
        axes |= {axis: values for axis, values in narrowed.items() if axis in axes}
        return axes | {axis: values for axis, values in given.items() if axis != "method" or not grids}

    grids = experiment.get("grids", [])
    labels = [{label: str(grid[label]) for label in _LABELS if label in grid} for grid in grids or [{}]]
    expanded = list(zip(labels, map(axes_of, grids or [{}]), strict=True))
    if grids and "method" in given:
        known = {method for _, axes in expanded for method in axes.get("method", [])}
        for _, axes in expanded:
            axes["method"] = [method for method in axes.get("method", []) if method in given["method"]]
        expanded.append(({}, axes_of({}) | {"method": [m for m in given["method"] if m not in known]}))
    chosen = {name for _, axes in expanded for group in OPTIONAL for name in names_in(",".join(axes.get(group, [])))}
    unknown = {axis for axis in given if _option_of(axis)[1] not in chosen}
    points: dict[tuple[object, ...], Point] = {}
    for names, axes in expanded:
        for values in itertools.product(*axes.values()):
            point = Point(_with_own_options(dict(zip(axes, values, strict=True)), unknown), **names)
            points.setdefault((frozenset(point.values), point.row, point.block), point)
    return list(points.values())


def names_in(choice: str) -> set[str]:
    """``[hype_n,r_drop]`` -> its names."""
    return set(_NAME.findall(choice))


def _with_own_options(values: dict[str, str], kept: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Without the options of techniques and analyses that the point does not choose; those on the command line of
    which no point chooses any are kept, and refused when the point is composed."""
    own = {group: names_in(values[group]) for group in OPTIONAL if group in values}
    return tuple((axis, value) for axis, value in values.items() if axis in kept or not _is_foreign(axis, own))


def _is_foreign(axis: str, own: Mapping[str, Collection[str]]) -> bool:
    group, name = _option_of(axis)
    return bool(name) and group in own and name not in own[group]


def _option_of(axis: str) -> tuple[str, str]:
    """``method.hype_n.layers`` -> group and name; no name for other axes."""
    group, _, rest = axis.partition(".")
    name, _, option = rest.partition(".")
    return group, name if group in OPTIONAL and option else ""


def row_axes(points: Sequence[Point], search: Iterable[str]) -> list[str]:
    """The axes that tell the rows of a table apart: those that differ somewhere and are neither searched over nor
    part of what a table names anyway. An option of a method or analysis must differ among its own points."""
    axes = dict.fromkeys(axis for point in points for axis, _ in point.values)
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for point in points:
        values = dict(point.values)
        for axis in axes:
            group = "method" if axis == "noise_scale" else axis.partition(".")[0]
            seen[axis, values.get(group, "") if group in OPTIONAL else ""].add(values.get(axis, ""))
    differing = {axis for (axis, _), values in seen.items() if len(values) > 1}
    return [axis for axis in axes if axis in differing - _ELSEWHERE - set(search)]


def write(value: Any) -> str:
    """A value as Hydra's command line reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


def _written(axes: Mapping[str, Any]) -> Axes:
    written = {str(axis): [write(value) for value in _as_list(values)] for axis, values in axes.items()}
    for axis, values in written.items():
        if not values:
            raise UserError(f"the experiment's axis {axis} has no values")
    return written


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list) else [values]
