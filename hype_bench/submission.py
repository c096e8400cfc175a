"""The predictions of an experiment on GLUE's test sets, as the zip file that gluebenchmark.com takes.

File names, the header ``index<TAB>prediction`` and the words for the classes are those of the sample submission there.
A test server scores one run per task: of the configuration that the selection rule chose, the seed with the best dev
score. The paper does not say which of its runs it sent.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hype_bench.options import UserError
from hype_bench.report import tabulate
from hype_bench.runs.folder import file_name
from hype_bench.runs.status import RunStatus
from hype_bench.sweeps.planned import PlannedRun
from hype_bench.tables.experiment import Result

FILES = {
    ("cola", "test"): "CoLA.tsv",
    ("sst2", "test"): "SST-2.tsv",
    ("mrpc", "test"): "MRPC.tsv",
    ("stsb", "test"): "STS-B.tsv",
    ("qqp", "test"): "QQP.tsv",
    ("mnli", "test_matched"): "MNLI-m.tsv",
    ("mnli", "test_mismatched"): "MNLI-mm.tsv",
    ("mnli", "ax/test"): "AX.tsv",
    ("qnli", "test"): "QNLI.tsv",
    ("rte", "test"): "RTE.tsv",
    ("wnli", "test"): "WNLI.tsv",
}
_WORDS = {"mnli", "qnli", "rte"}  # tasks whose classes are written as words; the others as numbers
_HIGHEST_SIMILARITY = 5.0


def submit(results_dir: Path, name: str, rule: str, folder: Path) -> list[str]:
    """Writes ``<folder>/<block>-<row>.zip`` for every row of the experiment's table.

    Returns:
        A line for every file: what is in it and what GLUE still wants.

    Raises:
        UserError: there is no plan, or no run that predicted a test set.
    """
    made = tabulate(results_dir, name, rule)
    rows: dict[tuple[str, str], list[tuple[PlannedRun, RunStatus]]] = {}
    for (block, row, task), result in made.found.items():
        best = _best_seed(result, made.statuses)
        if best is not None and "/" not in task:
            rows.setdefault((block, row.title), []).append(best)
    if not rows:
        raise UserError(
            f"no cell of {name} has all its runs with predictions of a test set; data.predict_test=true makes them"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"{file_name(block)}-{file_name(row)}.zip", runs) for (block, row), runs in rows.items()]


def lines(task: str, labels: Sequence[str], logits: NDArray[np.float64]) -> str:
    """The content of one file of the submission: a header, then a line per example in the order of the test set.

    Args:
        labels: names of the classes; empty for a regression, whose predictions are cut to the range 0 to 5.
        logits: (examples, outputs).
    """
    if not labels:
        words = [f"{value:.3f}" for value in np.clip(logits[:, 0], 0, _HIGHEST_SIMILARITY)]
    else:
        words = [labels[k] if task in _WORDS else str(k) for k in logits.argmax(axis=1)]
    return "index\tprediction\n" + "".join(f"{index}\t{word}\n" for index, word in enumerate(words))


def _best_seed(result: Result, statuses: Mapping[str, RunStatus]) -> tuple[PlannedRun, RunStatus] | None:
    """The seed with the best dev score of the chosen configuration, if it predicted a test set."""
    cell = result.chosen.cell
    if cell.missing or not cell.n:
        return None
    seed = max(cell.scores, key=lambda seed: (np.nan_to_num(cell.scores[seed], nan=-np.inf), -seed))
    run = result.reported()[seed]
    status = statuses[run.identity]
    return (run, status) if (status.path / "test.csv").is_file() else None


def _check_rows(path: Path, split: str, part: pd.DataFrame) -> None:
    """Raises UserError unless every row of the split has its prediction, in order: the server counts them."""
    if "row" not in part or part["row"].tolist() != list(range(len(part))):
        raise UserError(f"{path}: the rows of {split} are not all there, one after the other; GLUE wants every one")


def _write(path: Path, runs: list[tuple[PlannedRun, RunStatus]]) -> str:
    written = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for run, status in runs:
            table = pd.read_csv(status.path / "test.csv")
            labels = [str(label) for label in (status.record or {})["config"]["task"]["labels"] or []]
            for split, part in table.groupby("split", sort=False):
                _check_rows(status.path / "test.csv", str(split), part)
                if file := FILES.get((run.task, str(split))):
                    logits = part.filter(like="logit_").to_numpy(np.float64)
                    archive.writestr(file, lines(run.task, labels, logits))
                    written.append(file)
    missing = [file for file in FILES.values() if file not in written]
    still = f"; GLUE also wants {', '.join(missing)}" if missing else ""
    return f"{path}: {', '.join(written)}{still}"
