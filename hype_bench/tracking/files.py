"""What W&B gets of a run besides numbers: its model and predictions, its errors; and what an attempt left behind."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_MOST = 200  # errors in the table


def send_model(session: Any, run: Path) -> None:
    """An artifact of the trained model and its predictions, if the weights were kept. Nothing is copied for it."""
    import wandb

    if not (run / "model").is_dir():
        return
    artifact = wandb.Artifact(f"run-{run.name}", type="model")
    for file in [run / "predictions.csv", *sorted((run / "model").iterdir())]:
        name = str(file.relative_to(run))
        artifact.add_file(str(file.resolve()), name=name, skip_cache=True, policy="immutable")
    session.log_artifact(artifact)


def send_errors(session: Any, run: Path) -> None:
    """The confusion matrix, for classes, and the worst errors of the split that is scored first."""
    import pandas as pd
    import wandb

    table = pd.read_csv(run / "predictions.csv")
    table = table[table.split == table.split.iloc[0]]
    if "label_name" in table:
        names = table.groupby("label").label_name.first().to_dict() | (
            table.groupby("prediction").prediction_name.first().to_dict()
        )
        classes = [names.get(number, str(number)) for number in range(int(max(names)) + 1)]
        chart = wandb.plot.confusion_matrix(
            y_true=table.label.astype(int).tolist(), preds=table.prediction.astype(int).tolist(), class_names=classes
        )
        session.log({"eval/confusion_matrix": chart})
    session.log({"eval/errors": wandb.Table(dataframe=worst_errors(table))})


def worst_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``predictions.csv`` that are wrong, those first that are so by the widest margin: of logits for classes,
    of the prediction for a regression. Their texts are found by ``row``, at the source of the data."""
    if "label_name" in table:
        wrong = table[table.label != table.prediction]
        logits = wrong.filter(regex=r"^logit_\d+$").to_numpy()
        each = range(len(wrong))
        margin = logits[each, wrong.prediction.astype(int)] - logits[each, wrong.label.astype(int)]
    else:
        wrong, margin = table, (table.prediction - table.label).abs()
    return wrong.assign(margin=margin).sort_values("margin", ascending=False, kind="stable").head(_MOST)


def forget_attempts(results_dir: Path, identity: str) -> None:
    """Removes the offline folders of attempts that left no record, so that ``wandb sync`` does not send them."""
    for folder in (results_dir / "wandb").glob(f"offline-run-*-{identity}"):
        if re.fullmatch(rf"offline-run-\d+_\d+-{re.escape(identity)}", folder.name) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def staged(results_dir: Path) -> Iterator[None]:
    """W&B keeps a copy of tables until they are sent, under the user's home: here it lies beside the offline run."""
    name = "WANDB_DATA_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str((results_dir / "wandb" / "data").resolve())
    try:
        yield
    finally:
        del os.environ[name]
