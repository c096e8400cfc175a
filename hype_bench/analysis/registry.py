"""Finds analyses by file, ours and those of plug-ins. Nothing is imported before one is called.

A file holds one analysis, which is of one of two kinds:

* a class with the name of the file, ``Robustness`` in ``robustness.py``, measures one run (an ``Analysis``, see
  ``measuring/form.py``). It is a choice of the group ``analysis``, its options are the fields of the class, and its
  record lies beside those of runs: it goes through sweeps, plans and tables as a run does.
* a function with the name of the file reads or edits several finished runs, as ``soup``. It is a verb of
  ``hype-bench``: its arguments are those of the command line.

A docstring begins with a line on what the analysis does and has the paragraphs ``Claim: ...`` (what it can show),
``Source: ...`` (who proposed it) and ``Cost: ...``. What several analyses share stands in the folders beside them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hype_bench.options import UserError
from hype_bench.plugins import Plugin, installed

if TYPE_CHECKING:
    from hype_bench.analysis.measuring.form import Analysis

PARAGRAPHS = ("Claim", "Source", "Cost")
_PACKAGE = "hype_bench.analysis"


@dataclass(frozen=True)
class Verb:
    """A function in a file of its own, not imported yet.

    Attributes:
        module: which holds a function of the name of its file.
        path: of the file.
        plugin: which brings it, if any does.
    """

    module: str
    path: Path
    plugin: Plugin | None = None

    kind: ClassVar[type[ast.stmt]] = ast.FunctionDef

    @property
    def name(self) -> str:
        return self.path.stem.replace("_", "-")

    @property
    def member(self) -> str:
        """What it is called in its module."""
        return self.path.stem

    @property
    def definition(self) -> ast.FunctionDef | ast.ClassDef | None:
        """Its definition, read without importing it; None if the file has none."""
        members = _members(self.path, self.path.stat().st_mtime_ns)
        return next((node for node in members if isinstance(node, self.kind) and node.name == self.member), None)

    def docstring(self) -> str:
        """What it says of itself; empty if the file does not define it."""
        definition = self.definition
        return (ast.get_docstring(definition) or "") if definition else ""

    def load(self) -> Callable[..., Any]:
        """Imports it.

        Raises:
            UserError: a plug-in's cannot be imported.
        """
        try:
            member: Callable[..., Any] = getattr(importlib.import_module(self.module), self.member)
        except Exception as error:
            if self.plugin is None:
                raise
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise UserError(f"{self.name} of {self.plugin.title} cannot be used: {reason}") from error
        return member


@dataclass(frozen=True)
class Measurement(Verb):
    """A class in a file of its own, not imported yet."""

    kind: ClassVar[type[ast.stmt]] = ast.ClassDef

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def member(self) -> str:
        return "".join(word.capitalize() for word in self.path.stem.split("_"))


@cache
def _members(path: Path, changed: int) -> list[ast.FunctionDef | ast.ClassDef]:
    """What a file defines; parsed once, as a plan asks for every run. ``changed``: so that a new version is parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return []
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def analyses() -> dict[str, Verb]:
    """Name -> analysis of either kind; one of a plug-in cannot take the name of one of ours."""
    entries = _in_folder(Path(__file__).parent, _PACKAGE, None)
    for plugin in installed():
        entries = in_plugin(plugin) | entries
    return dict(sorted(entries.items()))


def verbs() -> dict[str, Verb]:
    """Those that are verbs of ``hype-bench``."""
    return {name: entry for name, entry in analyses().items() if not isinstance(entry, Measurement)}


def measurements() -> dict[str, Measurement]:
    """Those that are choices of the group ``analysis``."""
    return {name: entry for name, entry in analyses().items() if isinstance(entry, Measurement)}


def build(chosen: Mapping[str, Mapping[str, Any]]) -> Analysis | None:
    """The analysis of a run from ``{name: {option: value}}``; None if none is chosen.

    Raises:
        UserError: several, an unknown name or option, a value of the wrong type or out of range.
    """
    from hype_bench.contract.values import instance  # torch comes with the package

    if not chosen:
        return None
    if len(chosen) > 1:
        names = ",".join(chosen)
        raise UserError(
            f"a run has one analysis, not {' and '.join(chosen)}: sweep over them, as in -m analysis={names}"
        )
    ((name, values),) = chosen.items()
    known = measurements()
    if name not in known:
        raise UserError(f"there is no analysis {name!r}; there are {', '.join(known)}")
    cls: type[Analysis] = known[name].load()  # type: ignore[assignment]
    return instance(f"analysis.{name}", cls, values)


def in_plugin(plugin: Plugin) -> dict[str, Verb]:
    """Both kinds; a file that defines neither is taken for a verb, so that its fault is named."""
    if plugin.folder is None:
        return {}
    return _in_folder(plugin.folder / "analysis", f"{plugin.module}.analysis", plugin)


def _in_folder(folder: Path, package: str, plugin: Plugin | None) -> dict[str, Verb]:
    entries = []
    paths = [path for path in folder.glob("*.py") if not path.stem.startswith("_") and path != Path(__file__)]
    for path in sorted(paths):
        about = f"{package}.{path.stem}", path, plugin
        measurement = Measurement(*about)
        entries.append(measurement if measurement.definition else Verb(*about))
    return {entry.name: entry for entry in entries}


def missing_paragraphs(docstring: str) -> list[str]:
    """What the docstring of an analysis lacks."""
    starts = {paragraph.partition(":")[0] for paragraph in inspect.cleandoc(docstring).split("\n\n")}
    return [name for name in PARAGRAPHS if name not in starts]
