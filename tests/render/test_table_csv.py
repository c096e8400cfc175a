"""The CSV of tables: one schema, which docs/table_csv.md describes."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest

from hype_bench.paper.published import Published
from hype_bench.render.budget import budget_numbers, equal_search_numbers
from hype_bench.render.comparisons import paper_numbers
from hype_bench.render.order import order_numbers
from hype_bench.render.over_tasks import over_tasks_numbers, ranks_numbers
from hype_bench.render.paired import paired_numbers
from hype_bench.render.signal import signal_numbers
from hype_bench.render.table_csv import COLUMNS, cell_rows, to_csv
from hype_bench.stats.crossed import difference_over_seeds
from hype_bench.stats.means import Difference
from hype_bench.stats.paired import paired_difference
from hype_bench.stats.sequential import decide
from hype_bench.stats.signal import NOT_COMPUTABLE
from hype_bench.stats.verdict import verdicts
from hype_bench.tables.beside_paper import BesidePaper
from hype_bench.tables.budget import EqualSearch, ExpectedBest
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.compare import Compared, Measured
from hype_bench.tables.notes import Note
from hype_bench.tables.over_tasks import OverTasks, Ranking
from hype_bench.tables.signal import TaskSignal
from hype_bench.tables.table import Table

DOCUMENTED = (Path(__file__).resolve().parents[2] / "docs" / "table_csv.md").read_text()
DIFFERENCE = Difference(0.1, 0.05, 0.15, 0.04)
CELL = Cell("accuracy", {1: 0.7, 2: 0.8})
ONE = difference_over_seeds([0.25])
MEASURED = Measured(np.array([0.25]), paired_difference({1: 0.5}, {1: 0.25}), ONE, [], [])
PAIRED = Compared(MEASURED, verdicts([ONE])[0], decide([0.25]), 1.0, 1)
COMPARED = {
    "paper": paper_numbers(BesidePaper(CELL, Published(1, None, "vanilla", "rte", 72.24, 2.18, n=3), [])),
    "budget": budget_numbers(ExpectedBest(1, 2, 0)),
    "over tasks": over_tasks_numbers("vanilla", OverTasks(["rte"], DIFFERENCE, DIFFERENCE, 1, 0)),
    "ranks": next(iter(ranks_numbers({"m": Ranking(["rte"], {Row("a"): (1.0, [CELL])}, [], 1.0, 0.5)}).values())),
    "signal": signal_numbers(TaskSignal(1, 2, NOT_COMPUTABLE, NOT_COMPUTABLE, NOT_COMPUTABLE, math.nan, math.nan)),
    "row": {"baseline": "vanilla", **paired_numbers(PAIRED)},
    "order": order_numbers((5, 0.1)),
    "equal search": equal_search_numbers(EqualSearch(1, (1, 2), DIFFERENCE)),
}


def parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_every_column_is_documented_and_no_other() -> None:
    names = [*COLUMNS, *(name for columns in COMPARED.values() for name in columns)]
    lines = [line for line in DOCUMENTED.splitlines() if line.startswith("|")]
    documented = [name for line in lines for name in re.findall(r"`(\w+)`", line.rsplit(" | ", 1)[0])]
    assert set(documented) - {"paper", "budget", "ranks", "signal"} == set(names)


@pytest.mark.parametrize("columns", COMPARED.values(), ids=COMPARED)
def test_a_comparison_adds_columns_to_one_table(columns: dict[str, object]) -> None:
    table = Table("m", ["rte"], {Row("vanilla"): {"rte": CELL}, Row("hype_n"): {"rte": CELL}}, [])
    rows = parse(to_csv(cell_rows([table], compared={("m", Row("hype_n"), "rte"): columns})))
    assert [row["method"] for row in rows] == ["vanilla", "hype_n"]
    assert {rows[0][name] for name in columns} == {""}
    assert rows[1] == rows[1] | {name: "" if value is None else str(value) for name, value in columns.items()}


def test_a_cell_that_may_show_no_number_has_none() -> None:
    missing = Cell("accuracy", {1: 0.7, 2: 0.8}, {"failed": 1}, missing="2 of 3 runs")
    (row,) = cell_rows([Table("m", ["rte"], {Row("vanilla"): {"rte": missing}}, [])])
    assert (row["mean_fraction"], row["std_fraction"], row["low_fraction"]) == (None, None, None)
    assert (row["n"], row["scores_fraction"], row["missing"]) == (2, "0.7 0.8", "2 of 3 runs, 1 failed")


def test_the_mean_over_tasks_has_no_seeds_and_a_note_stands_at_its_task() -> None:
    cells = {"rte": CELL, AVERAGE: Cell(AVERAGE, {0: 0.75})}
    notes = [Note("a subset", frozenset(["rte"])), Note("of another task", frozenset(["mrpc"]))]
    rows = cell_rows([Table("m", list(cells), {Row("vanilla"): cells}, notes)])
    assert [(row["n"], row["seeds"], row["mean_fraction"]) for row in rows] == [(2, "1 2", 0.75), (None, "", 0.75)]
    assert [row["notes"] for row in rows] == ["a subset", ""]
