"""What one process of ``bench_gpu.py`` trains and times: ``python gpu_arms.py DEVICE LAYERS``, an arm as JSON on stdin.

BERT-large's and MiniLM's shapes with random weights, texts with the lengths of RTE and CoLA, batches of 16.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from torch.optim import Optimizer
from torch.utils.data import SequentialSampler
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

from hype_bench.config import RunConfig, resolve
from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.registry import build
from hype_bench.launch.main import CONF
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.silence import silence_transformers
from hype_bench.tasks.data import Split, TaskData
from hype_bench.training import loop
from hype_bench.training.interleave import interleave, turns_of_this_thread
from hype_bench.training.tokens import tokenise

# Tokens of the training examples, every 40th part of the distribution (BERT's uncased tokenizer, at most 128).
QUANTILES = {
    "rte": [13, 25, 29, 31, 33, 35, 37, 38, 40, 41, 43, 44, 45, 46, 47, 48, 50, 51, 53, 54, 56, 57, 59, 61, 62, 64, 67,
            69, 72, 78, 85, 93, 103, 113, 120, 128, 128, 128, 128, 128, 128],
    "cola": [4, 6, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 13, 13,
             13, 14, 14, 15, 16, 17, 18, 20, 22, 47],
}  # fmt: skip
SHAPES = {
    "bert_large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}
WORDS, BATCH = 30522, 16
PRECISIONS = ("fp32", "tf32", "bf16")
OURS, TRAINERS = ("captured", "eager"), ("Trainer, longest", "Trainer, 128")
TECHNIQUES = ("hype_n", "r_drop", "r3f")


@dataclass(frozen=True)
class Arm:
    """What one process times: ``way`` of training, of ``OURS`` or ``TRAINERS``, on some tasks; ``runs`` take turns."""

    way: str
    precision: str = "fp32"
    tasks: tuple[str, ...] = ("rte", "cola")
    method: str = "vanilla"
    shape: str = "bert_large"
    updates: int = 40
    warm_up: int = 15
    barrier: str = ""
    runs: int = 1


def build_checkpoint(shape: str, layers: int | None) -> Path:
    """A folder with random weights of this shape and a tokenizer that has one token for each of its words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = Path(tempfile.gettempdir()) / f"hype_bench_{shape}_{layers}"
    if not folder.exists():
        special = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
        words = special | {f"w{i}": i for i in range(4, WORDS)}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
        sizes = SHAPES[shape] | ({"num_hidden_layers": layers} if layers else {})
        AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=WORDS, **sizes)).save_pretrained(folder)
    return folder


def texts_of(task: str, updates: int) -> TaskData:
    """As many examples as the timed updates take, with the task's lengths and words by Zipf's law."""
    generator = np.random.default_rng(1)
    lengths = generator.choice(QUANTILES[task], updates * BATCH)
    ranks = generator.zipf(1.2, int(lengths.sum())) % (WORDS - 4) + 4
    bounds = np.cumsum(lengths)
    texts = [" ".join(f"w{i}" for i in part[:-2]) for part in np.split(ranks, bounds[:-1])]
    labels = generator.integers(0, 2, len(texts))
    evaluation = Split("validation", (texts[:BATCH],), labels[:BATCH], np.arange(BATCH))
    return TaskData(Split("train", (texts,), labels, np.arange(len(texts))), [evaluation], ["0", "1"], "bench")


def order_of(updates: int, warm_up: int) -> list[NDArray[np.int64]]:
    """The timed batches, behind as many of them as the warm-up takes."""
    timed = np.split(np.arange(updates * BATCH), updates)
    return [timed[i % updates] for i in range(warm_up)] + timed


@dataclass
class Stopwatch(Method):
    """Milliseconds of the updates after the warm-up; as a technique it does nothing else."""

    warm_up: int
    updates: int
    barrier: str = ""
    done: int = field(default=0, init=False)
    clock: list[Any] = field(default_factory=list, init=False)
    capturable = True

    def __post_init__(self) -> None:
        """It has no options to be checked."""

    def prepare(self, model: Any, context: Context) -> Hooks:
        return Hooks(after_step=self.count)

    def count(self, optimizer: Optimizer | None = None) -> None:
        self.done += 1
        if self.done == self.warm_up:
            _meet(self.barrier)
        if self.done in (self.warm_up, self.warm_up + self.updates):
            if torch.cuda.is_available():
                event = torch.cuda.Event(enable_timing=True)
                event.record()
                torch.cuda.synchronize()
            else:
                event = None
            self.clock.append((event, time.time()))

    def milliseconds(self) -> float:
        """Per update."""
        (start, before), (end, after) = self.clock
        elapsed = start.elapsed_time(end) if start is not None else 1000 * (after - before)
        return float(elapsed / self.updates)


def _meet(barrier: str) -> None:
    """Waits until as many processes as the barrier's name says have come."""
    if barrier:
        folder, count = Path(barrier), int(barrier.rpartition("_")[2])
        Path(tempfile.mkstemp(dir=folder)[1])
        while len(list(folder.iterdir())) < count:
            time.sleep(0.001)


def ours(arm: Arm, run: RunConfig, data: TaskData) -> tuple[float, int, Stopwatch]:
    """This project's loop, as ``fine_tune`` runs it; of runs that take turns the first."""
    order = order_of(arm.updates, arm.warm_up)
    loop.training_order = lambda *_: iter(order)
    timed = [(Stopwatch(arm.warm_up, arm.updates, arm.barrier), loop.Outcome()) for _ in range(arm.runs)]

    def train(stopwatch: Stopwatch, outcome: loop.Outcome) -> None:
        methods = {**build(run.methods), "stopwatch": stopwatch, **(turns_of_this_thread() if arm.runs > 1 else {})}
        loop.fine_tune(run, data, locate(run.model), methods, outcome)

    interleave([partial(train, *one) for one in timed])
    stopwatch, outcome = timed[0]
    return stopwatch.milliseconds(), outcome.peak_memory, stopwatch


class InOrder(Trainer):
    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


class Counts(TrainerCallback):
    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.stopwatch.count()


def trainer(arm: Arm, run: RunConfig, data: TaskData) -> tuple[float, int, Stopwatch]:
    """``transformers.Trainer`` with the recipe's settings and its own defaults otherwise."""
    stopwatch, settings, padding = Stopwatch(arm.warm_up, arm.updates), run.training, arm.way.partition(", ")[2]
    tokenizer = load_tokenizer(locate(run.model))
    tokens = tokenise(data.train, tokenizer, 128)
    pieces = np.split(tokens.ids, tokens.bounds[1:-1])
    chosen = np.concatenate(order_of(arm.updates, arm.warm_up))
    rows = [{"input_ids": pieces[i].tolist(), "labels": int(tokens.labels[i])} for i in chosen]
    model = load_classifier(locate(run.model), 2, 0.1, 0)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch, per_device_train_batch_size=BATCH, max_steps=len(rows) // BATCH, logging_steps=10,
            save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=not on_gpu, weight_decay=settings.weight_decay,
            bf16=arm.precision == "bf16", tf32=arm.precision == "tf32" if on_gpu else None,
        )  # fmt: skip
        collate = transformers.DataCollatorWithPadding(
            tokenizer, padding=padding if padding == "longest" else "max_length", max_length=128
        )
        InOrder(model, arguments, collate, train_dataset=rows, callbacks=[Counts(stopwatch)]).train()
    return stopwatch.milliseconds(), torch.cuda.max_memory_allocated() if on_gpu else 0, stopwatch


def work(arm: Arm, device: str, layers: int | None) -> dict[str, Any]:
    """One arm, task by task, in this process."""
    results: dict[str, Any] = {}
    for task in arm.tasks:
        folder, short = build_checkpoint(arm.shape, layers), ["tracker=none", f"device={device}"]
        overrides = [
            "model=bert_base", f"model.checkpoint={folder}", "task=demo_rte", f"method={arm.method}", *short,
            f"training.max_steps={arm.warm_up + arm.updates}", f"training.precision={arm.precision}",
            f"training.batch_size={BATCH}", f"training.cuda_graphs={'auto' if arm.way == 'captured' else 'off'}",
        ]  # fmt: skip
        with initialize_config_dir(str(CONF), version_base="1.3"):
            run = resolve(compose("config", overrides))
        train: Callable[..., Any] = ours if arm.way in OURS else trainer
        milliseconds, memory, stopwatch = train(arm, run, texts_of(task, arm.updates))
        results[task] = {"ms": milliseconds, "memory": memory, "clock": [at for _, at in stopwatch.clock]}
    return results


def main() -> None:
    device, layers = sys.argv[1:]
    arm = sys.stdin.readline()  # by now all is imported; nothing comes if nothing more is to be measured
    if arm:
        content = json.loads(arm)
        with silence_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = work(Arm(**{**content, "tasks": tuple(content["tasks"])}), device, int(layers) or None)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
