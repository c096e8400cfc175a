"""What the benchmarks measure on: a task of MiniLM, or another encoder, with its data and tokens."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from hype_bench.config import RunConfig, resolve
from hype_bench.launch.main import CONF
from hype_bench.models.checkpoint import locate
from hype_bench.models.loading import load_tokenizer
from hype_bench.tasks.data import TaskData, load
from hype_bench.training.batches import training_order
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import Tokens, tokenise

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
