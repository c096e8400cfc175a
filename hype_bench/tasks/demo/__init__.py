"""Four small English text tasks from a seed, for when there is neither a hub nor a data folder.

They have the columns, labels and metrics of four GLUE tasks, and hold none of GLUE's text: templates fill
themselves from one lexicon. Scores on them say that a method runs and learns, never how it does on GLUE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any

from hype_bench.tasks.demo import cola, mrpc, rte, stsb

SIZES = {"train": 1000, "validation": 400}
GOLDEN = 0.6180339887498949  # its multiples fill 0..1 evenly, so each split has the same share of each answer

_Row = dict[str, Any]
_DRAWS: dict[str, Callable[[Random, float], _Row]] = {
    "demo_rte": rte.draw,
    "demo_cola": cola.draw,
    "demo_mrpc": mrpc.draw,
    "demo_stsb": stsb.draw,
}
TASKS = tuple(_DRAWS)


def generate(task: str, split: str, seed: int = 0) -> dict[str, list[Any]]:
    """The columns of one split of a demo task: the same arguments give the same columns everywhere.

    Args:
        task: `demo_rte`, `demo_cola`, `demo_mrpc` or `demo_stsb`.
        split: `train` or `validation`; `SIZES` says how many rows each has.
        seed: another seed draws other examples. Train and validation share none, under any two seeds.

    Returns:
        GLUE's columns for the task (`sentence`, or `sentence1` and `sentence2`; `label`) and `idx`.

    Raises:
        ValueError: for an unknown task or split.
    """
    if task not in _DRAWS:
        raise ValueError(f"unknown demo task {task!r}; there are {', '.join(_DRAWS)}")
    if split not in SIZES:
        raise ValueError(f"unknown split {split!r} of {task}; there are {', '.join(SIZES)}")
    rng = Random(f"{task}/{split}/{seed}")
    rows: dict[str, _Row] = {}  # by text, so that no text comes twice
    while len(rows) < SIZES[split]:
        row = _DRAWS[task](rng, len(rows) * GOLDEN % 1.0)
        sentences = [value for value in row.values() if isinstance(value, str)]
        text = "\n".join(sentences)
        if text not in rows and len({*sentences}) == len(sentences) and _split_of(text) == split:
            rows[text] = row
    columns = {name: [row[name] for row in rows.values()] for name in next(iter(rows.values()))}
    return columns | {"idx": list(range(len(rows)))}


def _split_of(text: str) -> str:
    """The only split that may hold the text: its digest decides, so that no two splits need compare rows."""
    return "validation" if hashlib.sha256(text.encode()).digest()[0] % 2 else "train"
