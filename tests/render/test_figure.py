"""The figure of a block, by what is on its axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hype_bench.paper.published import Published
from hype_bench.render.figure import figure
from hype_bench.tables.beside_paper import BesidePaper
from hype_bench.tables.cells import Cell, Row
from hype_bench.tables.table import Table


def test_a_figure_has_a_panel_per_task(tmp_path: Path) -> None:
    tasks = [f"task_{number}" for number in range(6)]
    rows = ["vanilla", "vanilla, wider search", "hype_n (layers=lowest:6, position=within)", "child_tuning_f"]
    table = Table("bert_large", [*tasks, "average"], {}, [])
    paper = {}
    for i, row in enumerate(map(Row, rows)):
        table.rows[row] = {task: Cell("matthews", {1: 0.6 + i / 100, 2: 0.62}) for task in tasks}
        for task in tasks if i else ():
            printed = Published(1, None, row.title, task, 61.0, n=3)
            other = ["epochs=1 instead of 3"] if (i, task) == (1, "task_0") else []
            paper["bert_large", row, task] = BesidePaper(table.rows[row][task], printed, other)
    table.rows[Row(rows[1])]["task_1"].missing = "2 of 12 runs"
    drawn = figure(table, paper, "table1: bert_large", "paper, Table 1")
    drawn.savefig(tmp_path / "figure.png")
    panels = [axes for axes in drawn.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == tasks
    assert [label.get_text() for label in panels[0].get_yticklabels()] == rows
    assert [text.get_text() for text in panels[1].texts] == ["X  2 of 12 runs"]
    hollow = [line for line in panels[0].lines if line.get_markerfacecolor() == "white"]
    assert [np.asarray(line.get_xdata()).tolist()[0] for line in hollow] == [61.0] * 2  # one run is of another setting
    assert panels[0].get_xlabel() == "Matthews x 100"
