"""The predictions of an experiment on GLUE's test sets, as the zip file that gluebenchmark.com takes.

File names, the header ``index<TAB>prediction`` and the words for the classes are those of the sample submission there.
A test server scores one run per task: of the configuration that the selection rule chose, the seed with the best dev
score. The paper does not say which of its runs it sent.
"""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hype_bench.options import UserError
from hype_bench.render.report import read_experiment
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.reading import read_text
from hype_bench.runs.status import RunStatus
from hype_bench.runs.writing import file_name
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
_NAMED_CLASSES = {"mnli", "qnli", "rte"}  # the other tasks' classes are written as numbers
_HIGHEST_SIMILARITY = 5.0


def submit(results_dir: Path, name: str, rule: str, folder: Path) -> tuple[list[str], list[str]]:
    """Writes ``<folder>/<block>-<row>.zip`` for every row of the experiment's table.

    Returns:
        A line for every file: what is in it and what GLUE still wants; and a line for every row that cannot be sent,
        as its predictions are not what the run wrote.

    Raises:
        UserError: there is no plan, or no run that predicted a test set.
    """
    rows: dict[tuple[str, str], dict[str, RunStatus]] = defaultdict(dict)
    for (block, row, task), result in read_experiment(results_dir, name, rule).results.items():
        best = _best_seed(result)
        if best is not None and "/" not in task:
            rows[block, row.title][task] = best
    if not rows:
        raise UserError(
            f"no cell of {name} has all its runs with predictions of a test set; data.predict_test=true makes them"
        )
    written, refused = [], []
    for (block, title), runs in rows.items():
        try:
            written.append(_write(folder / f"{file_name(block)}-{file_name(title)}.zip", runs))
        except UserError as error:  # the other rows can still be submitted
            refused.append(str(error))
    return written, refused


def submission_file(task: str, labels: Sequence[str], logits: NDArray[np.float64]) -> str:
    """One file of the submission: a header, then a line per example in the order of the test set.

    Args:
        labels: names of the classes; empty for a regression, whose predictions are cut to the range 0 to 5.
        logits: (examples, outputs).
    """
    if not labels:
        predictions = [f"{value:.3f}" for value in np.clip(logits[:, 0], 0, _HIGHEST_SIMILARITY)]
    else:
        predictions = [labels[k] if task in _NAMED_CLASSES else str(k) for k in logits.argmax(axis=1)]
    return "index\tprediction\n" + "".join(f"{index}\t{prediction}\n" for index, prediction in enumerate(predictions))


def _best_seed(result: Result) -> RunStatus | None:
    """The run of the chosen configuration with the best dev score, if it predicted a test set."""
    scores = result.cell.scores
    if not scores:
        return None
    seed = max(scores, key=lambda seed: (np.nan_to_num(scores[seed], nan=-np.inf), -seed))
    run = result.statuses[result.shown.identity[seed]]
    requested = run.record and run.record.data.get("predict_test")  # then a missing file is an error
    return run if requested or (run.path / "test.csv").is_file() else None


def _write(path: Path, runs: Mapping[str, RunStatus]) -> str:
    content: dict[str, str] = {}
    for task, run in runs.items():
        labels = [str(label) for label in (run.record and run.record.task.get("labels")) or []]
        for split, logits in read_test_logits(run.path, max(len(labels), 1)).items():
            if file := FILES.get((task, split)):
                content[file] = submission_file(task, labels, logits)
    if not content:
        raise UserError(f"{path} would be empty: GLUE has no test set among the predictions of {', '.join(runs)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in content.items():
            archive.writestr(file, text)
    missing = ", ".join(file for file in FILES.values() if file not in content)
    return f"{path}: {', '.join(content)}" + (f"; GLUE also wants {missing}" if missing else "")


def read_test_logits(run: Path, outputs: int) -> dict[str, NDArray[np.float64]]:
    """The logits of every test split that a run predicted, (examples, outputs).

    Raises:
        UserError: ``test.csv`` is not whole; it names the file.
    """
    path = run / "test.csv"
    record = RunFolder(run).result()
    rows = record.test_rows if record else None
    try:
        table = pd.read_csv(io.StringIO(read_text(path)))
        columns = ["split", "index", *(f"logit_{k}" for k in range(outputs)), "row"]
        if list(table.columns) != columns:
            raise ValueError(f"its columns are not {', '.join(columns)}")
        parts = {str(split): part for split, part in table.groupby("split", sort=False, dropna=False)}
        if rows is not None and parts.keys() != rows.keys():
            raise ValueError(f"its splits are {', '.join(parts) or 'none'}, the run predicted {', '.join(rows)}")
        return {split: _logits(path, split, part, (rows or {}).get(split)) for split, part in parts.items()}
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not submitted: {error}; move {run} away and run it again") from error


def _logits(path: Path, split: str, part: pd.DataFrame, rows: int | None) -> NDArray[np.float64]:
    if part["index"].tolist() != list(range(len(part))):
        raise ValueError(f"the examples of {split} are incomplete, repeated or out of order")
    if rows is not None and len(part) != rows:
        raise ValueError(f"{split} has {len(part)} examples, the run predicted {rows}")
    if part["row"].tolist() != part["index"].tolist():
        raise UserError(f"{path}: some rows of {split} were left out of the data; GLUE wants all of them")
    logits = part.filter(like="logit_").to_numpy(np.float64)
    if not np.isfinite(logits).all():
        raise ValueError(f"a prediction of {split} is not a finite number")
    return logits
