"""Groups the runs of a results folder into tables: one per model, a row per method, a column per task."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hype_bench.runs.status import DIVERGED, DONE, RunStatus

_FIRST = ("vanilla", "no_dropout")  # the controls stand above what is compared with them
Settings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """``settings``: what tells this row from others of the same method, such as ``scale=0.0001``."""

    method: str
    settings: Settings = ()

    @property
    def title(self) -> str:
        return self.method + (
            f" ({', '.join(f'{key}={value}' for key, value in self.settings)})" if self.settings else ""
        )


@dataclass
class Cell:
    """All runs that differ in the seed alone. ``scores``: seed -> headline score, as a fraction; NaN stays NaN."""

    metric: str
    scores: dict[int, float] = field(default_factory=dict)
    unfinished: dict[str, int] = field(default_factory=dict)  # state -> runs without a score

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def mean(self) -> float:
        """Mean over seeds; NaN if one of them is NaN, or if there is none."""
        return math.fsum(self.scores.values()) / self.n if self.n else math.nan

    @property
    def std(self) -> float:
        """Standard deviation over seeds with n - 1 in the denominator; NaN below two seeds."""
        finite = all(math.isfinite(value) for value in self.scores.values())
        return statistics.stdev(self.scores.values()) if self.n > 1 and finite else math.nan


@dataclass
class Table:
    model: str
    tasks: list[str]
    rows: dict[Row, dict[str, Cell]]
    notes: list[str]


def build_tables(runs: Iterable[RunStatus]) -> list[Table]:
    """Tables of every run whose record or request can be read, in order of the models' names."""
    by_model: dict[str, list[RunStatus]] = defaultdict(list)
    for run in runs:
        if label := (run.record or run.request or {}).get("label"):
            by_model[str(label["model"])].append(run)
    return [_table(model, runs) for model, runs in sorted(by_model.items())]


def _about(run: RunStatus) -> dict[str, Any]:
    return run.record or run.request or {}


def _table(model: str, runs: list[RunStatus]) -> Table:
    groups: dict[tuple[str, str], dict[str, list[RunStatus]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        about = _about(run)
        settings = flat_settings(about)
        variant = repr(sorted(settings.items()))
        groups[about["label"]["method"], about["label"]["task"]][variant].append(run)
    rows: dict[Row, dict[str, Cell]] = defaultdict(dict)
    for (method, task), variants in groups.items():
        different = _differing([flat_settings(_about(members[0])) for members in variants.values()])
        for members in variants.values():
            settings = flat_settings(_about(members[0]))
            row = Row(method, tuple((_short(key), settings.get(key, "-")) for key in different))
            rows[row][task] = _cell(members)
    ordered = sorted(rows, key=lambda row: (_FIRST.index(row.method) if row.method in _FIRST else 9, row))
    tasks = sorted({task for _, task in groups})
    return Table(model, tasks, {row: rows[row] for row in ordered}, _notes(runs))


def flat_settings(about: Mapping[str, Any]) -> dict[str, str]:
    """Everything of a run's identity but its seed, as ``name -> text``; the subset in words instead of a hash."""
    flat: dict[str, str] = {}
    for key, value in about.get("parts", {}).items():
        if key == "methods":
            for name, values in value:
                flat |= {f"{name}.{option}": _text(setting) for option, setting in values.items()}
        elif key == "training":
            flat |= {f"training.{option}": _text(setting) for option, setting in value.items()}
        elif key != "seed":
            flat[key] = _text(value)[-8:] if key in ("data", "model") else _text(value)
    data = about.get("config", {}).get("data", {})
    for key in ("max_train_examples", "max_eval_examples", "subset_seed"):
        flat[key] = _text(data.get(key))
    return flat


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _differing(variants: list[dict[str, str]]) -> list[str]:
    """Keys in which the variants differ; hashes only where nothing in words does."""
    keys = sorted({key for variant in variants for key in variant})
    different = [key for key in keys if len({variant.get(key) for variant in variants}) > 1]
    return [key for key in different if key not in ("data", "model")] or different


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _cell(runs: list[RunStatus]) -> Cell:
    cell = Cell(str(_about(runs[0])["label"]["metric"]))
    for run in runs:
        if run.state == DONE and run.record is not None:
            cell.scores[int(run.record["label"]["seed"])] = float(run.record["scores"][cell.metric])
        else:
            cell.unfinished[run.state] = cell.unfinished.get(run.state, 0) + 1
    return cell


def _notes(runs: list[RunStatus]) -> list[str]:
    abouts = [_about(run) for run in runs]
    notes = []
    if generated := sorted({a["label"]["task"] for a in abouts if a["label"].get("generated")}):
        notes.append(f"generated: {', '.join(generated)} {_are(generated)} made by a program, not the real task")
    subset = sorted({a["label"]["task"] for a in abouts if _is_subset(a)})
    if subset:
        notes.append(f"subset: {', '.join(subset)} {_are(subset)} trained or scored on a part of the data")
    if diverged := sum(run.state == DIVERGED for run in runs):
        notes.append(f"diverged: {diverged} {'run' if diverged == 1 else 'runs'}, counted and not averaged")
    missing = {m for run in runs if run.state == DONE for m in run.record.get("warnings", []) if "not scored" in m}  # type: ignore[union-attr]
    return notes + sorted(missing)


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _is_subset(about: Mapping[str, Any]) -> bool:
    data = about.get("config", {}).get("data", {})
    return data.get("max_train_examples") is not None or data.get("max_eval_examples") is not None
