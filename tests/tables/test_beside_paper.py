"""Which printed cell stands beside one of ours."""

from __future__ import annotations

from typing import Any

import pytest

from hype_bench.paper.published import Published
from hype_bench.sweeps.planned import PlannedRun
from hype_bench.tables.beside_paper import printed_cell
from hype_bench.tables.cells import Row


def published(mean: float, task: str = "rte", method: str = "hype_n", row: str = "", **more: Any) -> Published:
    return Published(1, None, row, "", mean, task=task, method=method, **{"model": "bert_large", **more})


PRINTED = [
    published(1, setting={"scale": 1e-4}),
    published(2, setting={"scale": 1e-5}),
    published(3, model="roberta_large", setting={"scale": 1e-6}),
    published(4, "mnli"),
    published(5, "mnli_mm"),
    published(6, method="vanilla", setting={"split": "test"}),
    published(7, method="vanilla"),
    published(8, method="hype_u", row="HyPe-U"),
    published(9, "cola", setting={"layers": "all", "scale": 1e-4}),
    published(10, "cola", setting={"scale": 1e-4}),
]


@pytest.mark.parametrize(
    ("task", "method", "name", "settings", "mean"),
    [
        ("rte", "hype_n", "", {"scale": "1e-4"}, 1),
        ("rte", "hype_n", "", {"scale": "0.00001"}, 2),
        ("rte", "hype_n", "", {"scale": "1e-6"}, None),  # another model's
        ("rte", "hype_n", "", {"scale": "null"}, None),
        ("rte", "hype_n", "", {}, None),  # nobody knows which
        ("mnli", "hype_n", "", {}, 4),
        ("mnli/mismatched", "hype_n", "", {}, 5),
        ("rte", "vanilla", "", {}, 7),  # not the test server's
        ("rte", "vanilla", "HyPe-U", {}, 8),  # by the row's own name, whatever the method
        ("rte", "hype_u", "mine", {}, None),
        ("cola", "hype_n", "", {"layers": "all", "scale": "1e-4"}, 9),
        ("cola", "hype_n", "", {"layers": "top", "scale": "1e-4"}, 10),
    ],
)
def test_the_printed_cell_that_says_most_and_contradicts_nothing(
    task: str, method: str, name: str, settings: dict[str, str], mean: float | None
) -> None:
    run = PlannedRun("", "", "bert_large", task, "accuracy", method, name, settings, {}, True, 1, [])
    cell = printed_cell(PRINTED, run, Row(name or method, tuple(settings.items())))
    assert (cell and cell.mean) == mean
