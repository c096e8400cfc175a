"""The notebook runs from top to bottom on a results folder, and is stored without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hype_bench.runs.folder import RunFolder
from tests.runs.records import record_of

NOTEBOOK = Path(__file__).parents[2] / "examples" / "results.ipynb"


def test_the_notebook_shows_means_and_paired_differences(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel: pip install 'hype-bench[dev]'")
    nbformat = pytest.importorskip("nbformat")
    for seed in (1, 2, 3):
        for method, score in (("vanilla", 0.5), ("hype_n", 0.6 + seed / 100)):
            folder = RunFolder.of(tmp_path / "results", f"{method}-{seed}")
            folder.path.mkdir(parents=True)
            record = record_of(score, seed, method=method)
            (folder.path / "result.json").write_text(json.dumps(record))
    (tmp_path / "examples").mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path / "examples"}}).execute()
    shown = ["".join(str(output.get("data")) for output in cell.get("outputs", [])) for cell in notebook.cells]
    assert "done    6" in shown[1]
    assert "62.0" in shown[3]
    assert "12.0" in shown[5]
    assert "image/png" in shown[6]


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
