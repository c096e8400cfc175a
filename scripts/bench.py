"""Seconds per update, of the clock and of CPU, beside ``transformers.Trainer``: same model, same batches, in turns.

    make bench                                   all four tasks, three repeats, table to results/bench/
    python scripts/bench.py --tasks rte cola     some of them

Every arm is a process; they take turns, an update each (``training/turns.py``). The Trainer runs once with padding to
the longest of a batch and once with padding to 128, the default of the usual GLUE script. Real data where
HYPE_BENCH_DATA is set, else the generated tasks.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import OUT, ROOT, Case
from torch.utils.data import SequentialSampler
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from hype_bench.contract.registry import build
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier
from hype_bench.models.silence import silence_transformers
from hype_bench.training.loop import Outcome, fine_tune
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import Tokens
from hype_bench.training.turns import WARM_UP, Turn, rounds

TASKS = ("rte", "cola", "mrpc", "stsb")
ARMS = ("vanilla", "vanilla, bf16", "hype_n", "trainer, longest", "trainer, 128")
RATIOS = {
    "longest / vanilla": ("trainer, longest", "vanilla"),
    "128 / vanilla": ("trainer, 128", "vanilla"),
    "hype_n / vanilla": ("hype_n", "vanilla"),
    "vanilla / bf16": ("vanilla", "vanilla, bf16"),
}
SIZES = (1536, 2048)  # of the square matrices whose products give the peak
OPERATIONS = 1e11  # in one turn of theirs, about as long as an update


class InOrder(Trainer):
    """The Trainer on the batches of our loop, in our order."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


@dataclass(frozen=True)
class EndsTurns(TrainerCallback):
    """Ends the Trainer's turn after every update."""

    turn: Turn

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.turn.end()


def ours(method: str, task: str, updates: int, turn: Turn, *, precision: str = "fp32") -> None:
    """Our loop with one technique."""
    case = Case.of(task, updates, "minilm", f"training.precision={precision}")
    fine_tune(case.run, case.data, locate(case.run.model), {**build({method: {}}), "turn": turn}, Outcome())


def trainer(padding: str, task: str, updates: int, turn: Turn) -> None:
    """``transformers.Trainer`` with the recipe's settings and its own defaults otherwise."""
    case = Case.of(task, updates)
    settings = case.run.training
    rows = [_features(case.tokens, index) for batch in case.batches() for index in batch]
    model = load_classifier(locate(case.run.model), case.data.outputs, settings.dropout, derive(1, "head"))
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), silence_transformers():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            scratch,
            per_device_train_batch_size=settings.batch_size,
            max_steps=updates,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            adam_beta2=settings.adam_betas[1],
            adam_epsilon=settings.adam_epsilon,
            max_grad_norm=settings.max_grad_norm,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        collate = DataCollatorWithPadding(case.tokenizer, padding=padding, max_length=case.run.data.max_length)
        InOrder(model, arguments, collate, train_dataset=rows, callbacks=[EndsTurns(turn)]).train()


def square_products(size: int, turn: Turn) -> None:
    """Float32 products of square matrices, ``OPERATIONS`` a turn or one product."""
    a, b, out = (torch.randn(size, size) for _ in range(3))
    while True:
        turn.end()
        for _ in range(products_of_turn(size)):
            torch.mm(a, b, out=out)


def products_of_turn(size: int) -> int:
    return max(1, round(OPERATIONS / (2 * size**3)))


def _features(tokens: Tokens, index: int) -> dict[str, Any]:
    span = slice(tokens.bounds[index], tokens.bounds[index + 1])
    label = tokens.labels[index]
    return {
        "input_ids": tokens.ids[span].tolist(),
        "token_type_ids": tokens.types[span].tolist() if tokens.types is not None else [0] * (span.stop - span.start),
        "labels": float(label) if np.issubdtype(tokens.labels.dtype, np.floating) else int(label),
    }


def worked_parameters(case: Case) -> int:
    """Parameters outside the embeddings: each costs two operations per token forward and four backward."""
    model = load_classifier(locate(case.run.model), case.data.outputs, 0.1, 0)
    return sum(p.numel() for name, p in model.named_parameters() if "embeddings" not in name)


Clock = Callable[["Repeat"], dict[str, float]]  # by which of a repeat's two


@dataclass(frozen=True)
class Repeat:
    """One repeat of a task, in means over its updates.

    wall, cpu: seconds per update, of every arm and of the square products, by the clock and of all threads together.
    work: the operations of matrix products that an update is counted with.
    """

    wall: dict[str, float]
    cpu: dict[str, float]
    work: float

    @classmethod
    def of(cls, task: str, updates: int, work: float) -> Repeat:
        n = updates + WARM_UP + 1
        arms: dict[str, Callable[[Turn], None]] = {
            "vanilla": partial(ours, "vanilla", task, n),
            "vanilla, bf16": partial(ours, "vanilla", task, n, precision="bf16"),
            "hype_n": partial(ours, "hype_n", task, n),
            "trainer, longest": partial(trainer, "longest", task, n),
            "trainer, 128": partial(trainer, "max_length", task, n),
        }
        products = {size: partial(square_products, size) for size in SIZES}
        timed = rounds(arms | {str(size): program for size, program in products.items()}, updates)
        wall = {name: statistics.fmean(turns[name].wall for turns in timed) for name in timed[0]}
        cpu = {name: statistics.fmean(turns[name].cpu for turns in timed) for name in timed[0]}
        return cls(wall, cpu, work)

    def share(self, of: Clock) -> float:
        """Of the matmul peak, which vanilla reaches. The peak is what the best size of square matrices keeps up in its
        turns. The arithmetic is that of the model as it stands: that not all of the top layer's is needed, and done,
        counts as speed."""
        seconds = of(self)
        peak = max(products_of_turn(size) * 2 * size**3 / seconds[str(size)] for size in SIZES)
        return self.work / seconds["vanilla"] / peak


@dataclass(frozen=True)
class Measured:
    """One task in all its repeats."""

    task: str
    tokens: float  # of an update
    repeats: list[Repeat]

    @classmethod
    def of(cls, task: str, updates: int, repeats: int) -> Measured:
        case = Case.of(task, updates + WARM_UP + 1)
        tokens = statistics.fmean(case.tokens_of_updates[-updates:])
        work = 6 * worked_parameters(case) * tokens
        return cls(case.run.task.name, tokens, [Repeat.of(task, updates, work) for _ in range(repeats)])

    def seconds(self, arm: str, of: Clock) -> float:
        return statistics.median(of(repeat)[arm] for repeat in self.repeats)

    def ratio(self, slow: str, fast: str, of: Clock) -> float:
        return statistics.median(of(repeat)[slow] / of(repeat)[fast] for repeat in self.repeats)

    def share(self, of: Clock) -> float:
        return statistics.median(repeat.share(of) for repeat in self.repeats)


def table(measured: list[Measured], of: Clock) -> str:
    """A row for each task."""
    columns = ["task", "tokens/update", *(f"{arm} (s)" for arm in ARMS), *RATIOS, "of matmul peak"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for one in measured:
        numbers = [f"{one.seconds(arm, of):.3f}" for arm in ARMS]
        numbers += [f"{one.ratio(*arms, of):.2f}" for arms in RATIOS.values()]
        lines.append(f"| {one.task} | {one.tokens:.0f} | {' | '.join(numbers)} | {one.share(of):.2f} |")
    means = [math.exp(statistics.fmean(math.log(one.ratio(*arms, of)) for one in measured)) for arms in RATIOS.values()]
    lines.append(f"| geometric mean | | {'| ' * len(ARMS)}{' | '.join(f'{mean:.2f}' for mean in means)} | |")
    return "\n".join(lines)


def report(tasks: list[str], updates: int, repeats: int) -> str:
    measured = []
    for task in tasks:
        measured.append(Measured.of(task, updates, repeats))
        print(table(measured, lambda repeat: repeat.wall), flush=True)
    wall, cpu = (table(measured, of) for of in (lambda repeat: repeat.wall, lambda repeat: repeat.cpu))
    return f"{wall}\n\n## Seconds of CPU, all threads together\n\n{cpu}"


def start_of_second_run() -> float:
    """Seconds that the second run of a sweep, tracked by W&B, spends before its first update."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [
            "-m",
            "model=minilm",
            "task=demo_rte",
            "seed=1,2",
            "training.max_steps=1",
            f"results_dir={scratch}",
        ]
        subprocess.run([sys.executable, str(ROOT / "run.py"), *arguments], check=True, capture_output=True)
        records = [json.loads(path.read_text()) for path in Path(scratch).glob("runs/*/result.json")]
    (second,) = (record["seconds"] for record in records if record["label"]["seed"] == 2)
    return float(second["prepare"] + second["tokens"] + second["model"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.updates < 1:
        parser.error("--updates must be at least 1")
    tables = report(options.tasks, options.updates, options.repeats)
    threads = f"{torch.get_num_threads()} threads of a {platform.machine()} CPU, torch {torch.__version__}"
    head = (
        "# Seconds per update, MiniLM-L6, batch 16, float32 unless it says bf16\n\n"
        f"`make bench`: medians of {options.repeats} repeats of {options.updates} updates; all arms and the matrix "
        f"products of the peak take turns, an update each; {threads}. "
        "Absolute seconds are this machine's; the ratios are what is to be read, those in seconds of CPU where other "
        "programs ran beside. "
        '"Of matmul peak" counts the arithmetic of the whole model; '
        "a sixth of it, in the top layer, is not needed and not done.\n\n"
    )
    tail = f"\n\nThe second run of a sweep spends {start_of_second_run():.1f} s before its first update (bound: 4 s).\n"
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "update_time.md").write_text(head + tables + tail, encoding="utf-8")
    print("\n" + tables + tail)


if __name__ == "__main__":
    main()
