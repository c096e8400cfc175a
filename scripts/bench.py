"""Seconds per update of this loop beside ``transformers.Trainer``: same model, same batches, same process.

    make bench                                   all four tasks, three repeats, table to results/bench/
    python scripts/bench.py --tasks rte cola     some of them

Arms take turns within a repeat, so that a machine that slows down slows all of them. The Trainer runs once with
padding to the longest of a batch and once with padding to 128, the default of the usual GLUE script. Real data where
HYPE_BENCH_DATA is set, else the generated tasks.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import SequentialSampler
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from hype_bench.config import RunConfig, resolve
from hype_bench.main import CONF
from hype_bench.methods.registry import build
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.quiet import quiet
from hype_bench.tasks.data import TaskData, load
from hype_bench.training.batches import training_order
from hype_bench.training.loop import LOG_EVERY, Outcome, fine_tune
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import Tokens, tokenise

TASKS = ("rte", "cola", "mrpc", "stsb")
ARMS = ("vanilla", "hype_n", "trainer, longest", "trainer, 128")
ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "bench"


@dataclass(frozen=True)
class Case:
    """One task: the run's settings, its data, its tokens and how many of them an update has."""

    run: RunConfig
    data: TaskData
    tokens: Tokens
    tokenizer: Any

    @classmethod
    def of(cls, task: str, updates: int, model: str = "minilm", *further: str) -> Case:
        name = task if os.environ.get("HYPE_BENCH_DATA") else f"demo_{task}"
        short = [f"training.max_steps={updates}", "data.max_eval_examples=16"]
        overrides = [f"model={model}", f"task={name}", *short, *further]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            run = resolve(compose("config", overrides=overrides))
        tokenizer = load_tokenizer(locate(run.model))
        data = load(run.task, run.data)
        return cls(run, data, tokenise(data.train, tokenizer, run.data.max_length), tokenizer)

    def batches(self) -> list[Any]:
        training = self.run.training
        assert training.max_steps is not None
        order = training_order(
            len(self.tokens), training.batch_size, training.max_steps, derive(self.run.seed, "order")
        )
        return list(order)

    @property
    def tokens_of_updates(self) -> list[int]:
        return [int(self.tokens.lengths[batch].sum()) for batch in self.batches()]


class InOrder(Trainer):  # type: ignore[misc]
    """The Trainer on the batches of our loop, in our order."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


@dataclass(frozen=True)
class Pause:
    """In the middle of a run, the most float32 operations per second that a square matrix product keeps up: the median
    over a fifth of a second, for the best size. A machine's clock and its neighbours change within seconds."""

    began: float
    ended: float
    peak: float

    @classmethod
    def now(cls) -> Pause:
        began, peak = time.perf_counter(), 0.0
        for size in (1024, 1536, 2048):
            a, b, out = (torch.randn(size, size) for _ in range(3))
            times, end = [], time.perf_counter() + 0.2
            while (started := time.perf_counter()) < end:
                torch.mm(a, b, out=out)
                times.append(time.perf_counter() - started)
            peak = max(peak, 2 * size**3 / statistics.median(times))
        return cls(began, time.perf_counter(), peak)


def ours(case: Case, method: str) -> tuple[float, list[Pause]]:
    """Seconds per update of our loop, and the pauses after every ``LOG_EVERY`` updates, which they do not count."""
    outcome, pauses = Outcome(), list[Pause]()
    methods, pause = build({method: {}}), lambda *_: pauses.append(Pause.now())
    fine_tune(case.run, case.data, locate(case.run.model), methods, outcome, on_log=pause)
    paused = sum(pause.ended - pause.began for pause in pauses)
    return (outcome.seconds["train"] - paused) / outcome.updates, pauses


def trainer(case: Case, padding: str) -> float:
    """Seconds per update of ``transformers.Trainer`` with the recipe's settings and its own defaults otherwise."""
    settings = case.run.training
    rows = [_features(case.tokens, index) for batch in case.batches() for index in batch]
    model = load_classifier(locate(case.run.model), case.data.outputs, settings.dropout, derive(1, "head"))
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            scratch,
            per_device_train_batch_size=settings.batch_size,
            max_steps=settings.max_steps or -1,
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
        peer = InOrder(model, arguments, collate, train_dataset=rows)
        started = time.perf_counter()
        peer.train()
        return (time.perf_counter() - started) / len(case.batches())


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


def shares_of_peak(parameters: int, tokens: list[int], pauses: list[Pause]) -> list[float]:
    """From pause to pause: the matrix arithmetic of training per second, over the peak measured before and after.

    The arithmetic is that of the model as it stands. That the top layer's is not all needed counts as speed, not as
    work left out.

    Args:
        parameters: see :func:`worked_parameters`.
        tokens: of every update.
    """
    spans = [tokens[start : start + LOG_EVERY] for start in range(LOG_EVERY, len(tokens), LOG_EVERY)]
    return [
        6 * parameters * sum(span) / (after.began - before.ended) / statistics.fmean([before.peak, after.peak])
        for span, (before, after) in zip(spans, pairwise(pauses), strict=True)
    ]


def measure(case: Case, repeats: int) -> tuple[dict[str, float], float]:
    """Median seconds per update of every arm, and the median share of the matmul peak that vanilla reaches."""
    ours(replace(case, run=replace(case.run, training=replace(case.run.training, max_steps=4))), "vanilla")  # warm-up
    parameters, tokens = worked_parameters(case), case.tokens_of_updates
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    shares: list[float] = []
    for _ in range(repeats):
        for arm in ("vanilla", "hype_n"):
            took, pauses = ours(case, arm)
            seconds[arm].append(took)
            if arm == "vanilla":
                shares += shares_of_peak(parameters, tokens, pauses)
        for arm, padding in (("trainer, longest", "longest"), ("trainer, 128", "max_length")):
            seconds[arm].append(trainer(case, padding))
    return {arm: statistics.median(values) for arm, values in seconds.items()}, statistics.median(shares)


def report(tasks: list[str], updates: int, repeats: int) -> str:
    lines = [
        "| task | tokens/update | " + " | ".join(f"{arm} (s)" for arm in ARMS)
        + " | longest / vanilla | 128 / vanilla | hype_n / vanilla | of matmul peak |",
        "|---" * (len(ARMS) + 6) + "|",
    ]  # fmt: skip
    ratios: dict[str, list[float]] = {"longest": [], "128": [], "hype": []}
    for task in tasks:
        case = Case.of(task, updates)
        tokens = statistics.fmean(case.tokens_of_updates)
        seconds, share = measure(case, repeats)
        vanilla, hype, longest, full = (seconds[arm] for arm in ARMS)
        for name, value in (("longest", longest / vanilla), ("128", full / vanilla), ("hype", hype / vanilla)):
            ratios[name].append(value)
        numbers = " | ".join(f"{seconds[arm]:.3f}" for arm in ARMS)
        lines.append(
            f"| {case.run.task.name} | {tokens:.0f} | {numbers} | {longest / vanilla:.2f} "
            f"| {full / vanilla:.2f} | {hype / vanilla:.3f} | {share:.2f} |"
        )
        print(lines[-1], flush=True)
    means = {name: math.exp(statistics.fmean(map(math.log, values))) for name, values in ratios.items()}
    blank = " | ".join([""] * (len(ARMS) + 1))
    summary = f"{means['longest']:.2f} | {means['128']:.2f} | {means['hype']:.3f}"
    lines.append(f"| geometric mean | {blank} | {summary} | |")
    return "\n".join(lines)


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
    if options.updates < 2 * LOG_EVERY:
        parser.error(f"--updates must be at least {2 * LOG_EVERY}: the peak is measured every {LOG_EVERY} of them")
    table = report(options.tasks, options.updates, options.repeats)
    head = (
        "# Seconds per update, MiniLM-L6, batch 16, float32\n\n"
        f"`make bench`: medians of {options.repeats} repeats of {options.updates} updates, arms in turn; "
        f"{torch.get_num_threads()} threads of a {platform.machine()} CPU, torch {torch.__version__}. "
        "Absolute seconds are this machine's; the ratios are what is to be read. "
        '"Of matmul peak" counts the arithmetic of the whole model; '
        "a seventh of it, in the top layer, is not needed and not done.\n\n"
    )
    tail = f"\n\nThe second run of a sweep spends {start_of_second_run():.1f} s before its first update (bound: 4 s).\n"
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "update_time.md").write_text(head + table + tail, encoding="utf-8")
    print("\n" + table + tail)


if __name__ == "__main__":
    main()
