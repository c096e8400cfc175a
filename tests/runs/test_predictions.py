"""The files of predictions name the classes and lead back to the rows of the user's file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hype_bench.config import DataConfig, SourceConfig, TaskConfig
from hype_bench.runs.predictions import scored, unlabelled
from hype_bench.tasks.data import Split, TaskData, load
from hype_bench.tasks.metrics import positive_class, score
from hype_bench.training.evaluation import Evaluation


def loaded(folder: Path, metric: str = "accuracy") -> TaskData:
    """Ten rows; the first has no text, the third no label; a subset of six; two of the test rows are without text."""
    labels = [0.5, 1.5, None, 2.5, 3.5] * 2 if metric == "pearson" else ["neg", "pos", None, "neg", "pos"] * 2
    frame = pd.DataFrame({"text": [f"text {row}" for row in range(10)], "label": labels})
    frame.loc[0, "text"] = None
    (folder / "own").mkdir()
    for split in ("train", "validation", "other"):
        frame.to_parquet(folder / "own" / f"{split}.parquet")
    texts = pd.Series([None, "a", "b", None, *"cdefgh"], dtype=object)
    frame.assign(text=texts).to_parquet(folder / "own" / "test.parquet")
    task = TaskConfig(
        name="own",
        source=SourceConfig(hub="own/own", folder="own"),
        text_columns=["text"],
        metric=metric,
        evaluation_splits=["validation", "other"],
        test_splits=["test"],
    )
    return load(task, DataConfig(root=str(folder), max_eval_examples=6, predict_test=True))


def evaluated(split: Split, outputs: int) -> Evaluation:
    logits = np.random.default_rng(0).normal(size=(len(split), outputs)).astype(np.float32)
    return Evaluation(split.labels, logits, {})


def test_every_example_leads_back_to_its_row_and_names_its_classes(tmp_path: Path) -> None:
    data = loaded(tmp_path)
    evaluations = {split.name: evaluated(split, 2) for split in data.evaluation}
    table = pd.read_csv(io.StringIO(scored(evaluations, data)))
    assert list(table.columns) == [
        *("split", "index", "label", "prediction", "logit_0", "logit_1", "row", "label_name", "prediction_name")
    ]
    frame = pd.read_parquet(tmp_path / "own" / "validation.parquet")
    for split in data.evaluation:
        part = table[table.split == split.name]
        assert part["index"].tolist() == list(range(6))
        assert frame.text[part["row"]].tolist() == split.texts[0]
        assert frame.label[part["row"]].tolist() == part.label_name.tolist()
        assert part.label.tolist() == split.labels.tolist()
        assert part.prediction.tolist() == evaluations[split.name].predictions.tolist()
        assert [data.labels[number] for number in part.prediction] == part.prediction_name.tolist()
        assert part[["logit_0", "logit_1"]].to_numpy(np.float32) == pytest.approx(
            evaluations[split.name].logits, rel=1e-7
        )


def test_a_regression_has_no_names(tmp_path: Path) -> None:
    data = loaded(tmp_path, metric="pearson")
    table = pd.read_csv(io.StringIO(scored({split.name: evaluated(split, 1) for split in data.evaluation}, data)))
    assert list(table.columns) == ["split", "index", "label", "prediction", "logit_0", "row"]


def test_rows_of_a_test_set_that_were_not_predicted_leave_a_gap(tmp_path: Path) -> None:
    data = loaded(tmp_path)
    table = pd.read_csv(io.StringIO(unlabelled({"test": np.zeros((8, 2), np.float32)}, data)))
    assert table["index"].tolist() == list(range(8))
    assert table["row"].tolist() == [1, 2, 4, 5, 6, 7, 8, 9]


def test_the_class_that_f1_is_of() -> None:
    names = ["neg", "pos"]
    assert [positive_class(metric, names) for metric in ("f1", "accuracy_f1", "macro_f1", "accuracy")] == [
        *("pos", "pos", None, None)
    ]
    assert score("f1", [0, 1, 1], [1, 1, 1])["f1"] == pytest.approx(0.8)
