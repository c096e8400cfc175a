"""How far weights have moved, and from where."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hype_bench.analysis.weight_change import WeightChange, change
from tests.analysis.runs import finished


def test_norms_are_those_of_all_weights_as_one_vector() -> None:
    before = [torch.tensor([[1.0, -2.0]]), torch.tensor([2.0])]
    after = [torch.tensor([[1.5, -2.0]]), torch.tensor([1.0])]
    expected = {"relative_l1": 1.5 / 5, "relative_l2": (1.25 / 9) ** 0.5, "l1": 0.5}
    assert change(before, after) == pytest.approx(expected)


@pytest.mark.parametrize("methods", [["vanilla"], ["noisytune", "hype_n"], ["reinit"]])
def test_without_a_step_nothing_has_moved_since_update_0(methods: list[str], tmp_path: Path) -> None:
    """The first update has a learning rate of 0: what techniques did before it is no part of the change."""
    analysis = WeightChange()
    trained = finished(tmp_path, analysis, "training.max_steps=1", methods=methods)
    still = analysis.measure(trained)
    assert [name for name in still.scores] == ["encoder", "layer_3", "layer_0", "layer_1", "layer_2"]
    assert {value for scores in still.scores.values() for value in scores.values()} == {0.0}
    from_checkpoint = WeightChange(since="checkpoint").measure(trained).scores["encoder"]["relative_l1"]
    assert (from_checkpoint > 0) == (methods != ["vanilla"])


def test_training_moves_every_layer(tmp_path: Path) -> None:
    analysis = WeightChange()
    scores = analysis.measure(finished(tmp_path, analysis)).scores
    assert all(0 < of_part["relative_l2"] < 0.1 for of_part in scores.values())
