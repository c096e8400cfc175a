"""Techniques in transformers.Trainer and in a loop of one's own: the same losses as in this project's loop."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers.training_args
from torch.utils.data import SequentialSampler
from transformers import DataCollatorWithPadding, TrainingArguments
from transformers.utils.import_utils import enable_tf32

from hype_bench.config import RunConfig
from hype_bench.contract.attach import attach
from hype_bench.contract.method import Method
from hype_bench.contract.registry import build, discover
from hype_bench.methods import FreeLB, HyPe, RDrop
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_tokenizer
from hype_bench.options import UserError
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import OPTIONS, anatomy, batch_of, load_once, tiny, without_dropout
from hype_bench.trainer import MethodTrainer
from hype_bench.training import loop, losses
from hype_bench.training.batches import training_order
from hype_bench.training.device import set_up
from hype_bench.training.optimizer import clip_gradients, make_optimizer, make_schedule, parameter_groups
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import Tokens, tokenise

UPDATES = 6
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# Our loop gives asft's probe and dr_tune's bank the data in another order, weight_noise the used rows of the embeddings
# only, elr and wta_crs the numbers of the examples, lt_sft and self_distillation several phases. Others leave no plain
# model.
OTHERS = {"asft", "dr_tune", "weight_noise", "elr", "wta_crs", "lt_sft", "self_distillation"}
NAMES = sorted(name for name, (cls, _) in discover().items() if name not in OTHERS and not cls.unmerged)


def config(task: str = "demo_rte") -> RunConfig:
    return configured(
        "model=tiny_bert", f"task={task}", "seed=7", "training.packing=off", "training.dropout=0.0",
        f"training.max_steps={UPDATES}", "training.warmup_steps=2", "training.learning_rate=1e-4",
        "training.batch_size=8", "data.max_eval_examples=8",
    )  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_random_but_the_techniques(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two loops draw masks of dropout in different ways, so there is none; ours logs every update."""
    monkeypatch.setattr(loop, "load_classifier", lambda *args: without_dropout(load_once(*args)))
    monkeypatch.setattr(losses, "LOG_EVERY", 1)
    warnings.filterwarnings("ignore", message="(r_drop|rose).* does nothing here")  # without dropout
    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # torch's, of a Trainer without a GPU


def methods_of(name: str) -> dict[str, Method]:
    return build({name: OPTIONS.get(name, {}) | ({"kl_dropout": 0.0} if name == "rose" else {})})


def ours(run: RunConfig, methods: dict[str, Method]) -> tuple[list[float], Any]:
    outcome = loop.Outcome()
    loop.fine_tune(run, loaded(run), locate(run.model), methods, outcome)
    return [row["loss"] for row in outcome.curve if "loss" in row], next(iter(outcome.evaluations.values())).logits


@cache
def losses_of(name: str, task: str) -> list[float]:
    """Those of our loop, for every host that is compared with it."""
    return ours(config(task), methods_of(name))[0]


class InOrder(MethodTrainer):
    """On the batches of our loop, in our order; notes the loss of every update."""

    losses: list[float]

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        self.__dict__.setdefault("losses", []).append(float(loss))
        return loss


def rows_of(run: RunConfig, tokens: Tokens) -> list[dict[str, Any]]:
    order = training_order(len(tokens), run.training.batch_size, UPDATES, derive(run.seed, "order"))
    return [example(tokens, index) for batch in order for index in batch]


def example(tokens: Tokens, index: int) -> dict[str, Any]:
    span = slice(tokens.bounds[index], tokens.bounds[index + 1])
    types = [] if tokens.types is None else tokens.types[span].tolist()
    label = tokens.labels[index]
    kind = float if np.issubdtype(tokens.labels.dtype, np.floating) else int
    return {"input_ids": tokens.ids[span].tolist(), "token_type_ids": types, "labels": kind(label)}


def prepared(run: RunConfig) -> tuple[Any, Any, Tokens]:
    tokenizer, data = load_tokenizer(locate(run.model)), loaded(run)
    model = loop.load_classifier(locate(run.model), data.outputs, 0.0, derive(run.seed, "head"))
    return model, tokenizer, tokenise(data.train, tokenizer, run.data.max_length)


def trainer(
    run: RunConfig, methods: list[Method], folder: Path, evaluated: list[dict[str, Any]] | None = None, **extra: Any
) -> InOrder:
    model, tokenizer, tokens = prepared(run)
    settings = run.training
    arguments = TrainingArguments(
        str(folder), seed=run.seed, per_device_train_batch_size=settings.batch_size, max_steps=UPDATES,
        learning_rate=settings.learning_rate, weight_decay=settings.weight_decay, adam_beta1=settings.adam_betas[0],
        adam_beta2=settings.adam_betas[1], adam_epsilon=settings.adam_epsilon, max_grad_norm=settings.max_grad_norm,
        warmup_steps=2, logging_strategy="no", save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
        **extra,
    )  # fmt: skip
    collate = DataCollatorWithPadding(tokenizer)
    rows = rows_of(run, tokens)
    return InOrder(model, arguments, collate, train_dataset=rows, eval_dataset=evaluated, methods=methods)


REGRESSION = [name for name in NAMES if discover()[name][0].takes_regression]


@pytest.mark.parametrize(
    ("name", "task"),
    [(name, "demo_rte") for name in NAMES]
    + [pytest.param(name, "demo_stsb", marks=pytest.mark.slow) for name in REGRESSION],
)
def test_the_same_losses_in_the_trainer(name: str, task: str, tmp_path: Path) -> None:
    run, expected = config(task), losses_of(name, task)
    peer = trainer(run, list(methods_of(name).values()), tmp_path)
    before = anatomy(peer.model)
    peer.train()
    assert np.allclose(peer.losses, expected, atol=1e-6, rtol=1e-6), (peer.losses, expected)
    assert anatomy(peer.model) == before


@pytest.mark.parametrize("task", ["demo_rte", "demo_stsb"])
def test_a_label_may_stand_in_a_list_of_its_own(task: str, tmp_path: Path) -> None:
    curves = []
    for wrapped in (False, True):
        peer = trainer(config(task), [HyPe()], tmp_path)
        peer.train_dataset = [
            row | {"labels": [row["labels"]] if wrapped else row["labels"]} for row in peer.train_dataset
        ]
        peer.train()
        curves.append(peer.losses)
    assert curves[0] == curves[1]


PAIRS = [("hype_n", "r_drop"), ("r3f", "hype_n"), ("sam", "freelb"), ("llrd", "ema")]


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_the_same_losses_for_several_techniques(names: tuple[str, str], tmp_path: Path) -> None:
    run = config()
    expected, _ = ours(run, {**methods_of(names[0]), **methods_of(names[1])})
    chosen = [*methods_of(names[0]).values(), *methods_of(names[1]).values()]
    peer = trainer(run, chosen, tmp_path)
    peer.train()
    assert np.allclose(peer.losses, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_losses_in_a_loop_of_ones_own(name: str, tmp_path: Path) -> None:
    """What the README shows: ``attached``, its loss, and the two moments around the step."""
    run, expected = config(), losses_of(name, "demo_rte")
    model, tokenizer, tokens = prepared(run)
    rows, settings = rows_of(run, tokens), run.training
    before, losses = anatomy(model), []
    collate = DataCollatorWithPadding(tokenizer)
    size = settings.batch_size
    batches = [dict(collate(rows[at : at + size])) for at in range(0, len(rows), size)]

    def one_pass(size: int | None) -> Any:
        step = size or settings.batch_size
        every = [example(tokens, index) for index in range(len(tokens))]
        return (dict(collate(every[at : at + step])) for at in range(0, len(every), step))

    with attach(
        methods_of(name),
        model.train(),
        seed=run.seed,
        updates=UPDATES,
        warmup=2,
        batches=one_pass,
        examples=len(tokens),
    ) as attached:
        groups = attached.parameter_groups(parameter_groups(model, settings.learning_rate, settings.weight_decay))
        optimizer = make_optimizer(groups, settings)
        schedule = make_schedule(optimizer, UPDATES, 2)
        for batch in batches:
            losses.append(float(attached.backward(batch)))
            clip_gradients([p for group in optimizer.param_groups for p in group["params"]], settings.max_grad_norm)
            attached.before_step(optimizer)
            optimizer.step()
            attached.after_step(optimizer)
            optimizer.zero_grad()
            schedule.step()
    assert np.allclose(losses, expected, atol=1e-6, rtol=0)
    assert anatomy(model) == before


def test_one_line_around_a_forward_pass() -> None:
    model, batch = tiny("bert").train(), batch_of(3)
    before = anatomy(model)
    with HyPe(scale=0.5).attached(model):
        first, second = (model(input_ids=batch["input_ids"]).logits for _ in range(2))
        assert not torch.equal(first, second)
    assert anatomy(model) == before
    with RDrop().attached(model) as attached:
        assert attached.loss(batch).requires_grad


def test_a_loop_that_fails_leaves_a_plain_model() -> None:
    model = tiny("bert").train()
    before = anatomy(model)

    def fails() -> None:
        with HyPe(scale=0.5).attached(model):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fails()
    assert anatomy(model) == before


def test_what_the_trainer_refuses(tmp_path: Path) -> None:
    run = config()
    with pytest.raises(UserError, match="takes each technique once"):
        trainer(run, [HyPe(), HyPe()], tmp_path)
    peer = trainer(run, [FreeLB()], tmp_path, gradient_accumulation_steps=2)
    before = anatomy(peer.model)
    with pytest.raises(UserError, match="gradient accumulation in the Trainer cannot work with FreeLB"):
        peer.train()
    assert anatomy(peer.model) == before
    model, _, _ = prepared(run)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    arguments = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    with pytest.raises(UserError, match="makes the optimizer itself"):
        MethodTrainer(model, arguments, optimizers=(optimizer, None), methods=[HyPe()])


@pytest.fixture
def with_tf32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose matrix products can be TF32, as far as ``transformers`` asks."""
    monkeypatch.setattr(transformers.training_args, "is_torch_tf32_available", lambda: True)
    enable_tf32.cache_clear()
    yield
    backends: Any = torch.backends
    backends.fp32_precision = backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.filterwarnings("ignore:noise of scale 1e-05 changes only")
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("is_tf32", [True, False])
def test_tf32_in_the_trainer_is_what_it_says(is_tf32: bool, precision: str, tmp_path: Path, with_tf32: None) -> None:
    """Also where a run in the same process chose otherwise in between."""
    peer = trainer(config(), [HyPe()], tmp_path, tf32=is_tf32)
    set_up(torch.device("cpu"), precision)
    peer.train()
    assert (torch.backends.cuda.matmul.fp32_precision == "tf32") == is_tf32
    assert peer.context.precision == ("tf32" if is_tf32 else "fp32")


@pytest.mark.slow
def test_a_compiled_model_in_the_trainer(tmp_path: Path, with_tf32: None) -> None:
    """For which ``transformers`` turns TF32 on."""
    peer = trainer(config(), [RDrop()], tmp_path, torch_compile=True, torch_compile_backend="eager")
    assert peer.context.precision == "tf32"
    peer.args.max_steps = 1
    peer.train()
    assert peer.losses == pytest.approx(losses_of("r_drop", "demo_rte")[:1], abs=1e-6)


@pytest.mark.parametrize("name", ["sage", "recadam", "dps", "sam"])
def test_an_update_that_fp16_skips_in_the_trainer_leaves_the_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its optimizer steps are only asked for; accelerate refuses fp16 on a CPU, so it is told afterwards."""
    peer = trainer(config(), list(methods_of(name).values()), tmp_path)
    peer.accelerator.scaler, peer.accelerator.native_amp = torch.amp.GradScaler("cpu", init_scale=2.0**60), True
    monkeypatch.setitem(peer.accelerator.state._shared_state, "_mixed_precision", "fp16")
    before = {key: weight.clone() for key, weight in peer.model.state_dict().items()}
    peer.args.max_steps, peer.args.warmup_steps = 2, 0
    peer.train()
    assert peer.accelerator.scaler.get_scale() == 2.0**58
    assert all(torch.equal(weight, before[key]) for key, weight in peer.model.state_dict().items())
    assert np.isfinite(peer.losses).all()


def test_accumulation_and_checkpointing_in_the_trainer(tmp_path: Path) -> None:
    run = config()
    peer = trainer(run, [HyPe(scale=0.1), RDrop()], tmp_path)
    peer.train()
    saved = trainer(run, [HyPe(scale=0.1), RDrop()], tmp_path, activation_checkpointing=True)
    saved.train()
    assert np.allclose(peer.losses, saved.losses, atol=1e-6, rtol=0)
    pieces = trainer(run, [HyPe(scale=0.1), RDrop()], tmp_path, gradient_accumulation_steps=2)
    pieces.train()
    assert np.isfinite(pieces.losses).all()


@pytest.mark.parametrize("name", ["vanilla", "hype_n", "mixout", "noisefit"])
def test_scoring_in_between_changes_nothing(name: str, tmp_path: Path) -> None:
    """Bit for bit, with dropout: neither the passes count nor what the Trainer's loader draws."""
    run, curves = config(), []
    rows = rows_of(run, prepared(run)[2])[:8]
    for watched in (False, True):
        often = {"eval_strategy": "steps", "eval_steps": 2} if watched else {}
        peer = trainer(run, list(methods_of(name).values()), tmp_path, rows, **often)
        for module in peer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
        peer.train()
        assert ("eval_loss" in str(peer.state.log_history)) == watched
        curves.append(peer.losses)
    assert curves[0] == curves[1]


def test_the_trainer_warns_of_what_a_run_would_record(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="r_drop does nothing here"):
        trainer(config(), [RDrop()], tmp_path).train()


def test_evaluation_is_the_models_own(tmp_path: Path) -> None:
    run = config()
    peer = trainer(run, [RDrop()], tmp_path)
    peer.train()
    rows = peer.train_dataset[:8]
    evaluated = peer.evaluate(eval_dataset=rows)["eval_loss"]
    batch = peer.data_collator(rows)
    with torch.no_grad():
        assert evaluated == pytest.approx(float(peer.model.eval()(**batch).loss), abs=1e-6)


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_the_examples_run(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
    runpy.run_path(str(script), run_name="__main__")
    assert "accuracy" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
