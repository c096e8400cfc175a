"""Fine-tunes one encoder on one task with some techniques, and scores the last weights once.

Read :func:`fine_tune` from top to bottom: it is the whole of training. Techniques act through the hooks that
:func:`~hype_bench.contract.compose.compose` returns; nothing here knows their names.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from hype_bench.config import RunConfig
from hype_bench.contract.compose import Composed, compose, phases_of
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, forward_of
from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.dropout import install_bulk_dropout
from hype_bench.models.hidden_dropout import dropout_probabilities
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.packing import attach_packing, can_pack
from hype_bench.models.vocabulary import Vocabulary, keep_used_rows
from hype_bench.tasks.data import TaskData
from hype_bench.training.batches import Collator, collator_for, split_evenly, training_order
from hype_bench.training.device import autocast_for, choose_device, describe, peak_memory, set_up
from hype_bench.training.evaluation import Evaluation, evaluate, predict
from hype_bench.training.fit import check_speed
from hype_bench.training.graphs import Buckets, Graphs, may_capture
from hype_bench.training.losses import DivergedError, Losses, Row
from hype_bench.training.optimizer import (
    clip_gradients,
    make_optimizer,
    make_schedule,
    parameter_groups,
    total_steps,
    warmup_steps,
)
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import Tokens, tokenise


@dataclass
class Outcome:
    """What one run yields. ``tests``: logits of unlabelled splits; ``seconds`` per phase; ``tokens`` counts real ones,
    without padding."""

    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    tests: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    curve: list[Row] = field(default_factory=list)
    updates: int = 0
    tokens: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    machine: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def fine_tune(
    run: RunConfig,
    data: TaskData,
    checkpoint: Checkpoint,
    methods: Mapping[str, Method],
    outcome: Outcome,
    on_log: Callable[[Row, int], None] = lambda row, total: None,
    on_progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
    save_to: Path | None = None,
) -> None:
    """Trains and scores; fills ``outcome`` as it goes, so that what came before a failure is not lost.

    Args:
        on_log: called with every point of the curve and the number of updates in all.
        on_progress: called by what takes long before the first update: what it is, how much is done, how much there is.
        save_to: where a plain ``from_pretrained`` folder is written at the end, if anywhere.

    Raises:
        DivergedError: the loss is not finite.
        UserError: the model or the combination of settings cannot work.
    """
    settings, clock = run.training, _Clock(outcome.seconds)
    device = choose_device(run.device, settings.precision)
    set_up(device, settings.precision)
    outcome.machine = describe(device)

    tokenizer = load_tokenizer(checkpoint)
    train = tokenise(data.train, tokenizer, run.data.max_length)
    splits = [*data.evaluation, *([data.selection] if data.selection else [])]
    evaluation = {split.name: tokenise(split, tokenizer, run.data.max_length) for split in splits}
    clock.end("tokens")

    model = load_classifier(checkpoint, data.outputs, settings.dropout, derive(run.seed, "head"), data.labels)
    model.to(device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    of_phase, phases = total_steps(len(train), settings), phases_of(methods)
    total, warmup = phases * of_phase, warmup_steps(of_phase, settings)
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    context = Context(
        seed=run.seed,
        precision=settings.precision,
        scaler=scaler,
        updates=total,
        warmup=warmup,
        examples=len(train),
        tokenizer=tokenizer,
        progress=on_progress,
        facts=outcome.facts,
        warnings=outcome.warnings,
    )
    plain = _speed_up(model, run, context)
    collate = collator_for(model, tokenizer, device)
    context.batches = partial(_one_pass, collate, train, settings.batch_size, derive(run.seed, "pass"))
    hooks = compose(methods, model, context)
    outcome.facts["dropout"] = dropout_probabilities(model)
    used = np.concatenate([tokens.ids for tokens in (train, *evaluation.values())])
    vocabulary = Vocabulary() if context.whole_vocabulary else keep_used_rows(model, used)
    collate = replace(collate, rows=vocabulary.rows)
    groups = hooks.parameter_groups(parameter_groups(model, settings.learning_rate, settings.weight_decay))
    optimizer = make_optimizer(groups, settings)
    schedule = make_schedule(optimizer, of_phase, warmup, phases)
    trainable = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    autocast = autocast_for(device, settings.precision)
    backward = _backward(model, hooks, autocast, scaler)
    batches = partial(training_order, len(train), settings.batch_size, total, derive(run.seed, "order"))
    of_training = collate
    if hooks.capturable and may_capture(model, settings):
        of_training = replace(collate, buckets=Buckets.of(train.lengths, batches(), settings.batch_size))
        backward = Graphs(backward, trainable, context)
    clock.end("model")

    torch.manual_seed(derive(run.seed, "dropout"))
    model.train()
    losses = Losses(device, total)
    for indices in batches():
        parts = split_evenly(indices, settings.gradient_accumulation_steps)
        micro_batches = [of_training(train, part) for part in parts]
        loss = hooks.backward(micro_batches, backward)
        scaler.unscale_(optimizer)
        norm = clip_gradients(trainable, settings.max_grad_norm)
        rate = float(max(schedule.get_last_lr()))  # of the head, where layers have rates of their own
        if _step(optimizer, hooks, scaler, norm):
            losses.add(loss)
            schedule.step()
        optimizer.zero_grad()
        outcome.updates += 1
        _end_phase(hooks, optimizer, outcome.updates, of_phase, total)
        outcome.tokens += int(train.lengths[indices].sum())
        is_scored = bool(settings.evaluate_every) and outcome.updates % settings.evaluate_every == 0
        for point in losses.points(outcome.updates, rate, norm, wait=is_scored):
            outcome.curve.append(point.row)
            on_log({**point.row, "gradient_norm": point.norm}, total)
        if is_scored:
            first = next(iter(evaluation.values()))
            scores = evaluate(model, first, collate, run.task.metric, autocast).scores
            outcome.curve.append({"update": outcome.updates, **scores})
            on_log(outcome.curve[-1], total)
    hooks.finish()
    outcome.warnings += _skipped(total - schedule.last_epoch, total)
    clock.end("train")

    for name, tokens in evaluation.items():
        scored = evaluate(model, tokens, collate, run.task.metric, autocast)
        if not np.isfinite(scored.logits).all():
            raise DivergedError(f"the last weights give outputs on {name} that are not finite")
        outcome.evaluations[name] = scored
    clock.end("evaluate")

    vocabulary.restore()
    for split in data.test:  # with all rows of the embeddings: which words it has must not change what was trained
        tokens = tokenise(split, tokenizer, run.data.max_length)
        outcome.tests[split.name] = predict(model, tokens, replace(collate, rows=None), autocast)
    plain()
    if save_to is not None:
        model.save_pretrained(save_to)
        tokenizer.save_pretrained(save_to)
    outcome.peak_memory = peak_memory(device)


def _speed_up(model: PreTrainedModel, run: RunConfig, context: Context) -> Callable[[], None]:
    """Packing, bulk dropout and checkpointing as far as the model takes them; returns what undoes the first two."""
    settings = run.training
    check_speed(model, settings)
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": context.checkpointed})
    undo = []
    if settings.packing != "off" and can_pack(model):
        undo.append(attach_packing(model))
    if model.device.type == "cpu":
        undo.append(install_bulk_dropout(model))

    def plain() -> None:
        for step in reversed(undo):
            step()

    return plain


def _one_pass(collate: Collator, train: Tokens, batch_size: int, seed: int, size: int | None) -> Iterator[Batch]:
    """The training data once, shuffled: what :attr:`Context.batches` gives."""
    size = size or batch_size
    for indices in training_order(len(train), size, math.ceil(len(train) / size), seed):
        yield collate(train, indices)


def _backward(
    model: PreTrainedModel, hooks: Composed, autocast: torch.autocast, scaler: torch.amp.GradScaler
) -> Callable[[list[Batch]], Tensor]:
    """Forward and backward of one update: gradients of the mean loss over all its micro-batches, and that loss."""
    forward = forward_of(model)

    def backward(micro_batches: list[Batch]) -> Tensor:
        examples = sum(len(batch["labels"]) for batch in micro_batches)
        losses = []
        for batch in micro_batches:
            with autocast:
                loss = hooks.loss(batch, forward)[0] * (len(batch["labels"]) / examples)
            scaler.scale(loss).backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    return backward


def _step(optimizer: Optimizer, hooks: Composed, scaler: torch.amp.GradScaler, norm: float | Tensor) -> bool:
    """The optimizer's step and the hooks around it; False where fp16 skips it, as gradients overflowed.

    Raises:
        DivergedError: they do so whatever the loss scale.
    """
    is_step = not scaler.is_enabled() or math.isfinite(norm)
    if is_step:
        hooks.before_step(optimizer)
        scaler.step(optimizer)
        hooks.after_step(optimizer)
    scaler.update()
    if not is_step and scaler.get_scale() < 1:
        raise DivergedError("the gradients are not finite at any loss scale")
    return is_step


def _end_phase(hooks: Composed, optimizer: Optimizer, updates: int, of_phase: int, total: int) -> None:
    if updates % of_phase == 0 and updates < total:
        hooks.next_phase(optimizer)


def _skipped(skipped: int, total: int) -> list[str]:
    """A warning of more skipped updates than it takes to find the loss scale."""
    sentence = f"fp16 skipped {skipped} of {total} updates, whose gradients overflowed"
    return [sentence] if skipped > total / 10 else []


class _Clock:
    """Seconds from one ``end`` to the next, by name."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.perf_counter()

    def end(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase], self.last = now - self.last, now
