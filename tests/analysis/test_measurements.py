"""Calibration, intruder dimensions, TuCo and Mahalanobis distances: what they compute, and as a user runs them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from hype_bench.analysis.calibration import Calibration
from hype_bench.analysis.intruder import Intruder, matrices
from hype_bench.analysis.mahalanobis import Mahalanobis
from hype_bench.analysis.measuring.form import Analysis
from hype_bench.analysis.tuco import contributions, share_of
from hype_bench.config import TaskConfig
from hype_bench.models.attention import Packing
from hype_bench.models.layers import encoder_layers
from hype_bench.models.packing import attach_packing, compute_every_token
from hype_bench.options import UserError
from hype_bench.stats.calibration import calibration, fitted_temperature
from hype_bench.testing.tiny import tiny
from tests.conftest import Warm

FAMILIES = ("bert", "roberta", "deberta", "xlnet")


def moved(model: PreTrainedModel) -> PreTrainedModel:
    """A copy, as training might leave it."""
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return other


@pytest.mark.parametrize("family", FAMILIES)
def test_both_parts_together_are_what_the_layers_add(family: str) -> None:
    start = tiny(family).eval()
    model = moved(start)
    batch = {"input_ids": torch.randint(5, 60, (3, 7)), "attention_mask": torch.ones(3, 7, dtype=torch.long)}
    with torch.no_grad():
        pretrained, tuned = contributions(start, model, batch)
        states = model(**batch, output_hidden_states=True).hidden_states
        unmoved = contributions(start, copy.deepcopy(start), batch)[1]
    at = -1 if family == "xlnet" else 0
    torch.testing.assert_close((pretrained + tuned).sum(0), (states[-1] - states[0])[:, at], rtol=0, atol=1e-5)
    assert len(pretrained) == len(encoder_layers(model))
    assert not unmoved.any()
    share = share_of(pretrained.sum(0), tuned.sum(0))
    assert ((share > 0) & (share < 1)).all()


def test_a_layer_is_held_against_the_pretrained_one_on_the_same_states() -> None:
    start = tiny("bert").eval()
    model = moved(start)
    batch = {"input_ids": torch.randint(5, 60, (2, 6))}
    with torch.no_grad():
        pretrained, _ = contributions(start, model, batch)
        below = model(**batch, output_hidden_states=True).hidden_states[1]
        by_hand = encoder_layers(start)[1](below)
        by_hand = (by_hand if isinstance(by_hand, torch.Tensor) else by_hand[0]) - below
    torch.testing.assert_close(pretrained[1], by_hand[:, 0], rtol=0, atol=1e-6)


def test_a_packed_row_has_the_parts_of_a_padded_batch() -> None:
    start = tiny("bert").eval()
    model, ids = moved(start), torch.randint(5, 60, (2, 6))
    with torch.no_grad():
        padded = contributions(start, model, {"input_ids": ids})
        for packed in (start, model):
            attach_packing(packed)
            compute_every_token(packed)
        row = {"input_ids": ids.view(1, -1), "position_ids": torch.arange(6).repeat(2)[None]}
        parts = contributions(start, model, {**row, "packing": Packing.of([6, 6])})
    torch.testing.assert_close(parts, padded, rtol=0, atol=1e-6)


def test_the_share_is_of_l1_norms() -> None:
    assert share_of(torch.tensor([3.0, -3.0]), torch.tensor([-1.0, 1.0])).item() == 0.25


def test_a_matrix_of_low_rank_brings_intruders() -> None:
    start = tiny("bert")
    model = copy.deepcopy(start)
    weight = encoder_layers(model)[1].get_parameter("attention.self.query.weight")
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        left, right = (torch.randn(size, generator=generator) for size in weight.shape)
        weight += 50 * torch.outer(left / left.norm(), right / right.norm())
    run: Any = SimpleNamespace(start=lambda: start, model=model)
    measured = Intruder(k=1, threshold=0.9).measure(run)
    assert {name: scores["intruders"] for name, scores in measured.scores.items()} == {
        "encoder": 1, "layer_1": 0, "layer_2": 1, "layer_3": 0,
    }  # fmt: skip
    assert measured.facts["matrices"] == len(matrices(start)) == 18
    change = measured.facts["changes"]["layer_2.attention.self.query"]
    assert change["stable_rank"] == pytest.approx(1, abs=1e-3)


def test_calibration_is_that_of_the_predictions_on_disk(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(40, 2)).round(4), generator.integers(0, 2, 40)
    rows = ["split,index,label,prediction,logit_0,logit_1,row"]
    for split, start in (("validation", 0), ("selection", 20)):
        rows += [f"{split},{i},{labels[start + i]},0,{','.join(map(str, logits[start + i]))},{i}" for i in range(20)]
    (tmp_path / "predictions.csv").write_text("\n".join(rows) + "\n")
    run: Any = SimpleNamespace(folder=SimpleNamespace(path=tmp_path))
    measured = Calibration(bins=5).measure(run)
    temperature = fitted_temperature(logits[20:], labels[20:])
    assert measured.facts == {"temperature": temperature}
    assert measured.scores["validation"] == calibration(logits[:20], labels[:20], bins=5)._asdict()
    assert measured.scores["scaled"] == calibration(logits[:20], labels[:20], temperature, bins=5)._asdict()


SHORT = ["model=tiny_bert", "tracker=none", "training.max_steps=3"]
SHORT += ["data.max_train_examples=60", "data.max_eval_examples=30"]


def test_all_of_them_read_one_run_and_one_that_cannot_does_not_stop_the_others(warm: Warm, tmp_path: Path) -> None:
    for words, failed in (
        (["-m", "analysis=transfer,calibration,intruder,tuco"], 1),
        (["analysis=mahalanobis", "analysis.mahalanobis.against=demo_cola"], 0),
    ):
        ended = warm(*words, *SHORT, "task=demo_rte", "data.selection_examples=20")
        assert ended.returncode == failed, ended.stderr
        assert ended.stdout.count("task demo_rte lacks the classes") == 2 * failed  # when it fails and at the end
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/result.json")]
    by_task = {record["label"]["task"]: record for record in records}
    assert by_task.keys() == {"demo_rte"} | {
        f"demo_rte.{name}" for name in ("calibration", "intruder", "tuco", "mahalanobis")
    }
    assert 0 < by_task["demo_rte.tuco"]["scores"]["tuco"] < 1
    assert by_task["demo_rte.intruder"]["scores"]["intruders"] == 0  # after three small steps
    assert 0 <= by_task["demo_rte.mahalanobis"]["scores"]["auroc"] <= 1
    assert by_task["demo_rte.mahalanobis"]["scores"]["layer_0/auroc"] == pytest.approx(0.5)


def a_run(task: str, metric: str = "accuracy") -> Any:
    return SimpleNamespace(task=TaskConfig(name=task, metric=metric))


@pytest.mark.parametrize(
    ("analysis", "task", "complaint"),
    [
        (Calibration(), a_run("stsb", "pearson"), "calibration: stsb is a regression"),
        (Mahalanobis(), a_run("stsb", "pearson"), "mahalanobis: stsb is a regression"),
        (Mahalanobis(), a_run("cola"), "AdvGLUE has no set for task cola; name another task with"),
        (Mahalanobis(against="x"), a_run("cola"), "analysis.mahalanobis.against must be adv_glue or a task, not 'x'"),
    ],
)
def test_a_run_that_cannot_be_measured(analysis: Analysis, task: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)):
        analysis.check(task)


@pytest.mark.parametrize("option", [{"threshold": 1.5}, {"k": 0}])
def test_an_option_out_of_range(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Intruder(**option)
