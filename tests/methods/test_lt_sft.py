"""LT-SFT: the released code's weights and masks over its phases; the real loop runs both."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hype_bench.contract.registry import build
from hype_bench.methods.lt_sft import LTSFT
from hype_bench.models.checkpoint import locate
from hype_bench.testing.composed import configured, loaded
from hype_bench.training.loop import Outcome, fine_tune
from tests.methods.toys import close, hooked, tensor


class Quadratic(nn.Module):
    """The weights of the file; their loss is half the squared distance from a target, each entry with a curvature."""

    def __init__(self, case: Any) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({key.replace(".", "_"): tensor(v) for key, v in case["start"].items()})
        self.base_model = SimpleNamespace(parameters=lambda: [self.weights["bert_w"], self.weights["bert_b"]])
        self.case = case

    def backward(self) -> None:
        for key, parameter in self.named():
            target, curvature = (tensor(self.case[part][key]) for part in ("targets", "curvature"))
            parameter.grad = curvature * (parameter.detach() - target)

    def named(self) -> Any:
        return [(key, self.weights[key.replace(".", "_")]) for key in self.case["start"]]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_phases(number: int, parity: Callable[[str], Any]) -> None:
    case = parity("lt_sft")
    run = case["runs"][number]
    model: Any = Quadratic(case)
    weights = dict(model.named())
    entries = sum(p.numel() for p in model.base_model.parameters())
    has_gradient = run["l1_has_gradient"]
    method = LTSFT(
        run["tunable_in_all"] / entries, run["iterations"], run["full_l1"] if has_gradient else 0.0,
        run["sparse_l1"] if has_gradient else 0.0, decays_masked=True,
    )  # fmt: skip
    hooks = hooked(method, model)
    optimizer = torch.optim.AdamW(list(weights.values()), run["lr"], weight_decay=run["weight_decay"])
    assert method.phases == len(run["phases"]) if number else True
    for phase in range(method.phases):
        for _ in range(run["sparse_steps" if phase % 2 else "full_steps"]):
            model.backward()
            hooks.before_step(optimizer)
            optimizer.step()
            hooks.after_step(optimizer)
        if phase < len(run["phases"]):
            for key, expected in run["phases"][phase]["after"].items():
                close(weights[key].detach(), expected)
        if phase < method.phases - 1:
            hooks.next_phase(optimizer)
        if phase % 2 == 0:
            masks = hooks._hooks[0].before_step.__self__.free
            for key, expected in run["masks"][phase // 2].items():
                assert masks[weights[key]].int().tolist() == expected
    for key, expected in run["sparse_difference"].items():
        difference = weights[key].detach() - tensor(case["start"][key])
        close(difference.where(difference.abs() > 1e-7, torch.zeros(())), expected)
    for key, expected in run["stored_in_full"].items():
        close(weights[key].detach(), expected)


def test_the_loop_runs_both_phases_and_leaves_a_sparse_difference() -> None:
    short = ("task=demo_rte", "training.max_steps=3", "training.learning_rate=1e-3", "training.warmup_steps=0")
    config, outcome = configured("model=tiny_bert", "method=lt_sft", "method.lt_sft.share=0.02", *short), Outcome()
    fine_tune(config, loaded(config), locate(config.model), build({"lt_sft": {"share": 0.02}}), outcome)
    assert outcome.updates == 6
    assert outcome.curve[-1]["update"] == 6
    assert outcome.curve[-1]["learning_rate"] == pytest.approx(1e-3 / 3)  # the second phase's own last update
    assert outcome.facts["trained_entries"] > 0
