"""What leaves no plain model cannot be saved, and says so before it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import TrainingArguments

from hype_bench.contract.compose import compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.plain import check_plain
from hype_bench.options import UserError
from hype_bench.testing.tiny import tiny
from hype_bench.trainer import MethodTrainer


@dataclass(frozen=True)
class Adapter(Method):
    unmerged = "adapter"


SENTENCE = "leaves no plain model, since its adapter cannot be merged into one: "


def test_the_complaint_names_the_technique_and_the_way_out() -> None:
    with pytest.raises(UserError, match=f"^adapter {SENTENCE}leave it$"):
        check_plain({"plain": Method(), "adapter": Adapter()}, "leave it")
    check_plain({"plain": Method()}, "leave it")


def test_the_model_refuses_to_be_saved(tmp_path: Path) -> None:
    model = tiny("bert")
    compose({"adapter": Adapter()}, model, Context()).finish()
    with pytest.raises(UserError, match=f"{SENTENCE}save its state_dict"):
        model.save_pretrained(tmp_path)


def test_a_trainer_refuses_checkpoints_on_the_way(tmp_path: Path) -> None:
    arguments = TrainingArguments(str(tmp_path), max_steps=1, save_strategy="steps", report_to="none")
    trainer = MethodTrainer(model=tiny("bert"), args=arguments, methods=[Adapter()])
    with pytest.raises(UserError, match=f"^Adapter {SENTENCE}set save_strategy='no'"):
        trainer.create_optimizer()
