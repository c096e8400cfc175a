"""Transfer: three classes answered for two, in both readings and by both mappings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from hype_bench.analysis.registry import build
from hype_bench.analysis.transfer import CLASSES, Transfer, two_classes
from hype_bench.config import UserError
from hype_bench.tasks.data import Split
from hype_bench.testing.composed import composed

PROBABILITIES = np.log([[0.6, 0.3, 0.1], [0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]]).astype(np.float32)


@pytest.mark.parametrize(("mapping", "answers"), [("argmax", [0, 0, 1, 1]), ("sum", [0, 1, 1, 1])])
def test_three_outputs_answer_for_two_classes(mapping: str, answers: list[int]) -> None:
    """They differ in the second row: entailment is most probable, and less so than the other two together."""
    logits = two_classes(PROBABILITIES + 3, mapping)
    assert logits.argmax(axis=1).tolist() == answers
    if mapping == "sum":
        both = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose((both / both.sum(axis=1, keepdims=True))[:, 0], [0.6, 0.4, 0.2, 0.1], rtol=1e-5)


def split(name: str, labels: list[int]) -> Split:
    return Split(name, (["a"] * 4, ["b"] * 4), np.asarray(labels), np.arange(4))


@pytest.mark.parametrize(
    ("options", "name", "classes", "labels", "accuracy"),
    [
        ({}, "sick", CLASSES, [0, 2, 2, 1], 0.75),  # neutral and contradiction are one
        ({"classes": "as_labelled"}, "sick", CLASSES, [0, 2, 2, 1], 0.25),
        ({"classes": "as_labelled"}, "sick", CLASSES[::-1], [2, 0, 1, 0], 0.75),  # named in another order
        ({}, "scitail", ("entails", "neutral"), [0, 0, 1, 0], 0.75),
        ({"mapping": "sum"}, "scitail", ("entails", "neutral"), [0, 0, 1, 0], 0.5),
        ({"classes": "as_labelled"}, "qqp", ("not_duplicate", "duplicate"), [1, 0, 0, 0], 0.75),
    ],
)
def test_every_set_is_scored_by_its_own_classes(
    options: dict[str, Any], name: str, classes: tuple[str, ...], labels: list[int], accuracy: float
) -> None:
    evaluation = Transfer(**options)._evaluation(PROBABILITIES, split(name, labels), list(classes))
    assert evaluation.scores == {"accuracy": accuracy}
    assert (evaluation.predictions == evaluation.labels).mean() == accuracy


@pytest.mark.parametrize("task", ["rte", "stsb", "scitail"])
def test_a_task_of_other_classes_is_refused(task: str) -> None:
    with pytest.raises(UserError, match=f"task {task} lacks the classes entailment, neutral, contradiction; it takes"):
        Transfer().check(composed(f"task={task}"))


def test_an_unknown_reading_is_refused() -> None:
    with pytest.raises(UserError, match=r"analysis\.transfer\.classes must be one of two, as_labelled, not 'three'"):
        build({"transfer": {"classes": "three"}})
    assert asdict(build({"transfer": {}})) == {"classes": "two", "mapping": "argmax"}  # type: ignore[call-overload]
