"""The Trainer's own objective, whatever the task: the same without techniques, and what techniques do around it."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch.utils.data import IterableDataset
from transformers import BertConfig, GPT2Config, Trainer, TrainingArguments

from hype_bench.contract.objective import is_regression
from hype_bench.contract.registry import build, discover
from hype_bench.contract.rows import for_techniques, forward_in_rows, own_loss
from hype_bench.methods import LLRD, ChildTuningD, HyPe, MatchTuning, NEFTune, RDrop, SupervisedContrastive
from hype_bench.options import UserError
from hype_bench.testing.tiny import anatomy, technique, without_dropout
from hype_bench.trainer import MethodTrainer, WithMethods

LENGTH, CLASSES, EXAMPLES = 6, 3, 12
SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def draw(seed: int, high: int, *shape: int) -> Any:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def tokens_labels() -> torch.Tensor:
    """Every other token has a label."""
    labels = draw(2, CLASSES, EXAMPLES, LENGTH)
    labels[:, ::2] = -100
    return labels


def summed(output: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    return F.cross_entropy(output["logits"], labels, reduction="sum") / (num_items_in_batch or 1)


ONE = {"labels": draw(2, CLASSES, EXAMPLES)}
# kind: the model's class, its configuration, its labels, what else the Trainer is told
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "classes": ("BertForSequenceClassification", {}, ONE, {}),
    "classes in lists": ("BertForSequenceClassification", {}, {"labels": ONE["labels"][:, None]}, {}),
    "label smoothing": ("BertForSequenceClassification", {}, ONE, {"label_smoothing_factor": 0.1}),
    "compute_loss_func": ("BertForSequenceClassification", {}, ONE, {"compute_loss_func": summed}),
    "regression": ("BertForSequenceClassification", {"num_labels": 1}, ONE, {}),
    "multi-label": (
        "BertForSequenceClassification", {"problem_type": "multi_label_classification"},
        {"labels": draw(3, 2, EXAMPLES, CLASSES).float()}, {},
    ),
    "tokens": ("BertForTokenClassification", {}, {"labels": tokens_labels()}, {}),
    "answers": (
        "BertForQuestionAnswering", {"num_labels": 2},
        {"start_positions": draw(4, LENGTH, EXAMPLES), "end_positions": draw(5, LENGTH, EXAMPLES)}, {},
    ),
    "choices": ("BertForMultipleChoice", {}, {"labels": draw(6, 2, EXAMPLES)}, {}),
    "masked": ("BertForMaskedLM", {}, {"labels": tokens_labels()}, {}),
    "causal": ("GPT2LMHeadModel", {}, {"labels": tokens_labels()}, {}),
    "causal, label smoothing": ("GPT2LMHeadModel", {}, {"labels": tokens_labels()}, {"label_smoothing_factor": 0.1}),
}  # fmt: skip
TECHNIQUES = [name for name in discover() if name != "vanilla"]


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def model_of(kind: str) -> Any:
    cls, config, _, _ = KINDS[kind]
    torch.manual_seed(0)
    if cls.startswith("GPT2"):
        return getattr(transformers, cls)(GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=LENGTH))
    sizes: Any = {"num_labels": CLASSES, "max_position_embeddings": LENGTH} | SIZES | config
    return getattr(transformers, cls)(BertConfig(**sizes))


def rows_of(kind: str) -> list[dict[str, Any]]:
    shape = (EXAMPLES, 2, LENGTH) if kind == "choices" else (EXAMPLES, LENGTH)
    columns = {"input_ids": draw(1, 40, *shape), **KINDS[kind][2]}
    return [{name: column[index] for name, column in columns.items()} for index in range(EXAMPLES)]


def trained(
    kind: str,
    folder: Path,
    cls: Any = Trainer,
    data: Any = None,
    model: Any = None,
    size: int = 4,
    **extra: Any,
) -> tuple[Trainer, list[float]]:
    """A Trainer after three updates, and the losses that it logged."""
    asked = KINDS[kind][3]
    told: dict[str, Any] = {name: extra.pop(name) for name in ("methods", "optimizer_cls_and_kwargs") if name in extra}
    told |= {name: value for name, value in asked.items() if callable(value)}
    extra |= {name: value for name, value in asked.items() if not callable(value)}
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=size, report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=1,
        save_strategy="no", **({"max_steps": 3} | extra),
    )  # fmt: skip
    peer = cls(model or model_of(kind), arguments, train_dataset=data or rows_of(kind), **told)
    peer.train()
    return peer, [row["loss"] for row in peer.state.log_history if "loss" in row]


@pytest.mark.parametrize("kind", KINDS)
def test_without_techniques_it_is_the_trainer_bit_for_bit(kind: str, tmp_path: Path) -> None:
    """Also where gradients are accumulated, over two batches and then over the last one."""
    plain, expected = trained(kind, tmp_path, gradient_accumulation_steps=2, max_steps=2)
    peer, losses = trained(kind, tmp_path, MethodTrainer, methods=[], gradient_accumulation_steps=2, max_steps=2)
    assert losses == expected
    for (key, one), other in zip(plain.model.state_dict().items(), peer.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), key


@pytest.mark.filterwarnings("ignore:r_drop does nothing here")  # without dropout
@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_r_drop_acts_around_the_objective_of_the_trainer(kind: str, accumulated: int, tmp_path: Path) -> None:
    """Without dropout its divergence is 0, and its loss twice the Trainer's on the whole batch."""
    own = trained(kind, tmp_path, model=without_dropout(model_of(kind)), max_steps=1, size=4 * accumulated)[1]
    model = without_dropout(model_of(kind))
    before = anatomy(model)
    doubled = trained(
        kind,
        tmp_path,
        MethodTrainer,
        model=model,
        methods=[RDrop()],
        max_steps=1,
        gradient_accumulation_steps=accumulated,
    )[1]
    assert doubled == [pytest.approx(2 * own[0], abs=1e-5)]
    assert anatomy(model) == before


@pytest.mark.parametrize("kind", [kind for kind, (*_, asked) in KINDS.items() if not asked])
def test_the_loss_of_a_model_is_the_mean_over_rows(kind: str) -> None:
    model = without_dropout(model_of(kind))
    batch = {name: torch.stack([row[name] for row in rows_of(kind)]) for name in rows_of(kind)[0]}
    batch = for_techniques(batch, model)
    loss, output = own_loss(model, model)(batch, forward_in_rows(model, model))
    assert torch.equal(output.logits, forward_in_rows(model, model)(batch).logits)
    if kind == "regression":
        assert is_regression(batch["labels"])
        assert torch.allclose(F.mse_loss(output.logits[:, 0], output.labels), loss)
    else:
        assert not is_regression(batch["labels"])
        assert torch.allclose(F.cross_entropy(output.logits, output.labels), loss)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi-label", "tokens", "answers", "choices", "masked", "causal"])
@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_trains_on_every_task_or_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    before = anatomy(model)
    with contextlib.suppress(UserError):
        losses = trained(kind, tmp_path, MethodTrainer, model=model, methods=list(technique(name).values()))[1]
        assert all(map(math.isfinite, losses))
    assert discover()[name][0].unmerged or anatomy(model) == before


def test_what_a_technique_cannot_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads all tokens"):
        trained("tokens", tmp_path, MethodTrainer, methods=[MatchTuning()])
    with pytest.raises(UserError, match="SupervisedContrastive reads one label an example"):
        trained("answers", tmp_path, MethodTrainer, methods=[SupervisedContrastive()])
    several = model_of("multi-label")
    several.config.problem_type = "regression"
    with pytest.raises(UserError, match="one number an example"):
        trained("multi-label", tmp_path, MethodTrainer, model=several, methods=[RDrop()])
    rows = [{"input_ids": row["input_ids"]} for row in rows_of("classes")]
    with pytest.raises(UserError, match="a batch with labels"):
        trained("classes", tmp_path, MethodTrainer, data=rows, methods=[RDrop()])


@pytest.mark.parametrize("kind", ["multi-label", "tokens", "answers", "causal"])
def test_a_criterion_is_the_loss_of_every_row(kind: str, tmp_path: Path) -> None:
    """Label smoothing of 0 is the cross-entropy that the Trainer has."""
    own = trained(kind, tmp_path, model=without_dropout(model_of(kind)), max_steps=1)[1]
    smoothing = build({"label_smoothing": {"smoothing": 0.0}}).values()
    model = without_dropout(model_of(kind))
    losses = trained(kind, tmp_path, MethodTrainer, model=model, methods=smoothing, max_steps=1)[1]
    assert losses == [pytest.approx(own[0], abs=1e-6)]
    with pytest.raises(UserError, match="leave out label_smoothing_factor"):
        trained("label smoothing", tmp_path, MethodTrainer, methods=build({"label_smoothing": {}}).values())


def test_neftune_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the same noise twice"):
        trained("classes", tmp_path, MethodTrainer, methods=[NEFTune()], neftune_noise_alpha=5.0)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(rows_of("classes"))


def test_a_stream_of_examples(tmp_path: Path) -> None:
    assert len(trained("classes", tmp_path, MethodTrainer, data=Stream(), methods=[HyPe()])[1]) == 3
    with pytest.raises(UserError, match="batches"):
        trained("classes", tmp_path, MethodTrainer, data=Stream(), methods=[ChildTuningD()])


def test_an_optimizer_of_another_class(tmp_path: Path) -> None:
    """With the parameter groups of the techniques: LLRD's, each with a rate of its own."""
    chosen = (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9})
    peer, _ = trained("classes", tmp_path, MethodTrainer, methods=[LLRD()], optimizer_cls_and_kwargs=chosen)
    optimizer = peer.optimizer.optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    assert len({group["initial_lr"] for group in optimizer.param_groups}) > 2
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


@pytest.mark.filterwarnings("ignore:r_drop does nothing here")  # without dropout
def test_a_trainer_of_ones_own_takes_techniques(tmp_path: Path) -> None:
    class Doubled(Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, items: Any = None) -> Any:
            loss, output = super().compute_loss(model, inputs, True, items)
            return (2 * loss, output) if return_outputs else 2 * loss

    class WithTechniques(WithMethods, Doubled):
        pass

    models = (without_dropout(model_of("classes")) for _ in range(2))
    own = trained("classes", tmp_path, model=next(models), max_steps=1)[1]
    losses = trained("classes", tmp_path, WithTechniques, model=next(models), methods=[RDrop()], max_steps=1)[1]
    assert losses == [pytest.approx(4 * own[0], abs=1e-5)]
