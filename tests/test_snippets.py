"""The Python that README and docs show runs as it stands, on a tiny model."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from hype_bench.testing.tiny import batch_of, tiny
from tests.runs.records import record_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/own_loop.md", "docs/compare.md", "docs/results.md", "docs/results_frame.md")


def snippets(page: str) -> list[str]:
    """The blocks of Python of a page; what one does on a GPU, it does here on the CPU."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [block.replace('"cuda"', '"cpu"') for block in blocks]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the pages take for granted."""
    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # torch's, of a Trainer without a GPU
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "runs" / "a"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps(record_of(0.5)))
    model, batch = tiny("bert"), batch_of(3)
    groups = [{"params": list(model.parameters()), "lr": 1e-4}]
    return {
        "model": model,
        "arguments": TrainingArguments("out", max_steps=1, report_to=[], save_strategy="no", disable_tqdm=True),
        "data": [{name: values[n] for name, values in batch.items()} for n in range(8)],
        "groups": groups,
        "optimizer": torch.optim.AdamW(groups),
        "batches": [batch],
        "torch": torch,
    }


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, names: dict[str, Any]) -> None:
    blocks = snippets(page)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)
