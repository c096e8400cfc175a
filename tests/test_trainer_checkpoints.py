"""Checkpoints of a Trainer with techniques: a resumed run is the straight one, and what is kept is what was scored."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification, BertConfig, TrainingArguments

from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.registry import discover
from hype_bench.methods import EMA, LTSFT, AdaLoRA, DropHead, FreeAT, HyPe, Mixout, NoiseFiT, SaRA
from hype_bench.options import UserError
from hype_bench.testing.tiny import anatomy, technique
from hype_bench.trainer import MethodTrainer

EXAMPLES, UPDATES = 40, 6
REFUSED = {"lt_sft", "elr", "wta_crs"}  # which need a second phase, and the numbers of the examples
REFUSED |= {name for name, (cls, _) in discover().items() if not cls.resumable or cls.unmerged}
# Nothing to keep, weights from before, parameters in the model; then all that another state would change.
STATES = (
    *("vanilla", "hype_n", "noisytune", "mixout", "lora", "r4f"),
    *("adalora", "asft", "dps", "dr_tune", "ema", "gradient_noise", "greentrainer", "lookahead", "recadam", "rose"),
    *("sage", "sara_again", "swa", "weight_noise"),
)
# Options with which techniques keep more.
MORE: dict[str, list[Method]] = {
    "adalora_rarely": [AdaLoRA(rank=4, target_rank=2, interval=2)],
    "drop_head_v": [DropHead(schedule="v")],
    "noisefit_one": [NoiseFiT(layers=1)],
    "sara_again": [SaRA(threshold=0.02, again_after=4)],
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def model_of(seed: int) -> Any:
    torch.manual_seed(seed)
    sizes: Any = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_labels": 3,
    }
    return transformers.BertForSequenceClassification(BertConfig(vocab_size=60, **sizes))


def data() -> list[dict[str, Any]]:
    ids = torch.randint(60, (EXAMPLES, 7), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": index % 3} for index, row in enumerate(ids)]


def peer_of(folder: Path, methods: list[Method], seed: int = 0, cls: Any = MethodTrainer, **extra: Any) -> Any:
    told: dict[str, Any] = {
        "max_steps": UPDATES, "learning_rate": 1e-2, "warmup_steps": 1, "per_device_train_batch_size": 8,
        "save_strategy": "steps", "save_steps": 3, "logging_steps": 1, "report_to": [], "use_cpu": True,
        "disable_tqdm": True,
    }  # fmt: skip
    arguments = TrainingArguments(str(folder), **(told | extra))
    chosen = {"methods": methods} if cls is MethodTrainer else {}
    return cls(model_of(seed), arguments, train_dataset=data(), eval_dataset=data()[:8], **chosen)


def losses_of(peer: Any) -> list[float]:
    return [row["loss"] for row in peer.state.log_history if "loss" in row]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in STATES else pytest.mark.slow)
        for name in (*discover(), *MORE)
        if name not in REFUSED
    ],
)
def test_a_resumed_run_is_the_straight_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Also where the model of the second process began with other weights."""
    methods = MORE.get(name) or list(technique(name).values())
    straight = peer_of(tmp_path, methods)
    straight.train()
    resumed = peer_of(tmp_path, methods, seed=1)
    before = anatomy(resumed.model)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert losses_of(resumed) == losses_of(straight)
    for (key, one), other in zip(straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
    assert anatomy(resumed.model) == before


def test_a_checkpoint_that_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    peer_of(tmp_path, [], max_steps=3).train()
    folder = str(tmp_path / "checkpoint-3")
    with pytest.raises(UserError, match=r"HyPe.*cannot be resumed from .*lacks techniques\.pt"):
        peer_of(tmp_path, [HyPe()]).train(resume_from_checkpoint=folder)
    peer_of(tmp_path, [HyPe()], max_steps=3).train()
    with pytest.raises(UserError, match=r"is of a run with HyPe.*cannot go on with Mixout"):
        peer_of(tmp_path, [Mixout()]).train(resume_from_checkpoint=folder)
    with pytest.raises(UserError, match="FreeAT cannot be resumed"):
        peer_of(tmp_path, [FreeAT()]).train(resume_from_checkpoint=folder)
    peer_of(tmp_path, []).train(resume_from_checkpoint=folder)


def loaded(folder: Path) -> Any:
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model


def test_what_is_scored_on_the_way_is_what_is_saved_and_kept(tmp_path: Path) -> None:
    """Of a technique that scores other weights than those it trains."""
    peer = peer_of(
        tmp_path, [EMA(decay=0.9)], eval_strategy="steps", eval_steps=3, load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
    )  # fmt: skip
    peer.train()
    scores = {row["step"]: row["eval_loss"] for row in peer.state.log_history if "eval_loss" in row}
    for step, score in scores.items():
        saved = peer_of(tmp_path / "again", [])
        saved.model.load_state_dict(loaded(tmp_path / f"checkpoint-{step}").state_dict())
        assert saved.evaluate()["eval_loss"] == pytest.approx(score, abs=1e-6)
    assert peer.evaluate()["eval_loss"] == pytest.approx(min(scores.values()), abs=1e-6)


# Those that put parameters of their own in the model.
@pytest.mark.parametrize(
    "name",
    [
        *("lora", "adalora", "r4f", "ssf", "svfit", "dsee"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("dora", "lora_plus", "vera", "ia3")),
    ],
)
def test_a_checkpoint_on_the_way_is_the_plain_model(name: str, tmp_path: Path) -> None:
    peer = peer_of(
        tmp_path, list(technique(name).values()), eval_strategy="steps", eval_steps=3, load_best_model_at_end=True,
        metric_for_best_model="eval_loss", greater_is_better=True,
    )  # fmt: skip
    before = anatomy(peer.model)
    peer.train()
    assert anatomy(peer.model) == before
    scores = {row["step"]: row["eval_loss"] for row in peer.state.log_history if "eval_loss" in row}
    best = max(scores, key=lambda step: scores[step])
    for step, score in scores.items():
        saved = loaded(tmp_path / f"checkpoint-{step}").state_dict()
        assert step != best or all(torch.equal(weight, saved[key]) for key, weight in peer.model.state_dict().items())
        peer.model.load_state_dict(saved)
        assert peer.evaluate()["eval_loss"] == pytest.approx(score, abs=1e-6)


@dataclass(frozen=True)
class Wrapping(Method):
    """Puts a parameter in the model, and does not say what the plain one would be."""

    def prepare(self, model: Any, context: Any) -> Hooks:
        model.register_parameter("added", torch.nn.Parameter(torch.zeros(1)))
        context.cleanup.callback(model._parameters.pop, "added")
        return Hooks()


@pytest.mark.parametrize(
    ("method", "complaint"),
    [(Wrapping(), "save_strategy='no'"), (LTSFT(), "LTSFT asks for a second phase, which the Trainer does not have")],
)
def test_what_the_trainer_cannot_do_is_refused_and_undone(method: Method, complaint: str, tmp_path: Path) -> None:
    peer = peer_of(tmp_path, [method])
    before = anatomy(peer.model)
    with pytest.raises(UserError, match=complaint):
        peer.train()
    assert anatomy(peer.model) == before


def test_without_the_best_the_mean_is_kept(tmp_path: Path) -> None:
    """The weights of the last checkpoint, if there is one of the last update."""
    peer = peer_of(tmp_path, [EMA(decay=0.9)])
    peer.train()
    saved = loaded(tmp_path / "checkpoint-6").state_dict()
    assert all(torch.equal(weight, saved[key]) for key, weight in peer.model.state_dict().items())
