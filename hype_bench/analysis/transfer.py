"""Transfer: a model of natural language inference, scored on other domains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.scored_data import scored_data
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.choices import read_choice
from hype_bench.config import RunConfig, SourceConfig, TaskConfig
from hype_bench.options import UserError, choice
from hype_bench.tasks.data import Split, TaskData
from hype_bench.tasks.metrics import accuracy
from hype_bench.training.evaluation import Evaluation, to_predictions

CLASSES = ("entailment", "neutral", "contradiction")
_SETS = ("snli", "sick", "scitail", "qqp", "mnli")
_NAMES = {"mnli/validation_matched": "mnli", "mnli/validation_mismatched": "mnli_mm"}
_TWO = {"scitail": "entails", "qqp": "duplicate"}  # sets of two classes, and their name of an entailment
_SAME_DOMAIN = {"mnli": ("mnli", "mnli_mm"), "mnli_mm": ("mnli", "mnli_mm")}  # scored on what it was trained on


@dataclass(frozen=True)
class Transfer(Analysis):
    """Accuracy of a run of MNLI or SNLI on SNLI, SICK, SciTail, QQP, MNLI and MNLI-mm.

    The first score is the mean over the sets of other domains than that of the training; beside it stands each set. The
    model has the three classes entailment, neutral and contradiction, SciTail and QQP have two: "entails" and
    "duplicate" are an entailment, "neutral" and "not_duplicate" none. Appendix C of the HyPe paper maps contradiction
    to neutral and does not say where; its scores after 5,000 examples are above what three classes usually give, so
    two classes everywhere are likelier and the default. Training has three classes in either reading. Rows of SNLI
    without a gold label are dropped.

    Args:
        classes: on what the sets of three classes are scored. two: entailment or not, as the others; as_labelled: all
            three, and two only where a set has two.
        mapping: how three outputs answer for two classes. argmax: the most probable of the three, renamed; sum:
            entailment if it is more probable than neutral and contradiction together. They differ where entailment is
            the most probable class and has less than half of the probability.

    Claim: a technique that keeps the encoder from over-fitting to the domain of its training data transfers better.

    Source: Yuan et al. 2023, "HyPe", ACL, section 5.4, Table 7 and Appendix C,
    https://aclanthology.org/2023.acl-long.182, after Xu et al. 2021, "Raise a Child in Large Language Model", EMNLP,
    https://arxiv.org/abs/2109.05687

    Cost: the run, if its weights were not kept; 71,000 examples are scored where all sets are whole.
    """

    classes: str = choice("two", "two", "as_labelled")
    mapping: str = choice("argmax", "argmax", "sum")

    def check(self, run: RunConfig) -> None:
        if run.task.is_regression or set(run.task.labels or ()) != set(CLASSES):
            raise UserError(
                f"analysis=transfer: task {run.task.name} lacks the classes {', '.join(CLASSES)}; "
                "it takes runs of mnli, snli and sick"
            )

    def data(self, run: RunConfig) -> list[TaskData]:
        return [scored_data(_task(name), run) for name in _SETS]

    def measure(self, trained: Trained) -> Measured:
        measured = Measured(scores={"out_of_domain": {}}, classes=[*CLASSES])
        order = [trained.data.labels.index(name) for name in CLASSES]
        for name, data in zip(_SETS, trained.further, strict=True):
            for split in data.evaluation:
                named = replace(split, name=_NAMES.get(f"{name}/{split.name}", name))
                measured.add(named, self._evaluation(trained.predict(split)[:, order], named, data.labels))
        trained_on = trained.run.task.name
        own = _SAME_DOMAIN.get(trained_on, (trained_on,))
        others = [name for name in measured.rows if name not in own]
        measured.scores["out_of_domain"]["accuracy"] = fmean(measured.scores[name]["accuracy"] for name in others)
        measured.rows = {"out_of_domain": sum(measured.rows[name] for name in others), **measured.rows}
        measured.facts["domains"] = others
        return measured

    def _evaluation(self, logits: NDArray[np.float32], split: Split, classes: list[str]) -> Evaluation:
        """Args: logits: (examples, 3), in the order of ``CLASSES``; classes: of the split's labels."""
        if len(classes) == 3 and self.classes == "as_labelled":
            labels = np.asarray([CLASSES.index(name) for name in classes])[split.labels]
        else:
            labels = np.where(split.labels == classes.index(_TWO.get(split.name, CLASSES[0])), 0, 1)
            logits = two_classes(logits, self.mapping)
        return Evaluation(labels, logits, accuracy(labels, to_predictions(logits)))


def two_classes(logits: NDArray[np.float32], mapping: str) -> NDArray[np.float32]:
    """Logits of entailment and of anything else, (examples, 2); the larger one is the answer.

    Args:
        logits: (examples, 3), entailment first.
        mapping: as the option of :class:`Transfer`.
    """
    others = np.logaddexp(logits[:, 1], logits[:, 2]) if mapping == "sum" else logits[:, 1:].max(axis=1)
    return np.stack([logits[:, 0], others], axis=1)


def _task(name: str) -> TaskConfig:
    content = read_choice("task", name)
    task = TaskConfig(**{**content, "source": SourceConfig(**content["source"])})
    return replace(task, metric="accuracy", test_splits=[])
