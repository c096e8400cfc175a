"""Runs of the real loop on the stand-in and on the CPU, counted and compared: a process of its own.

    python tests/cuda/runs.py < cases.json      a list of {"technique", "family", "precision", "dropout", "settings"}

For every case it prints a line of JSON: what one update (the second of three) asks of the GPU, where it waits for it,
how far the logits of the last weights are from those of the CPU, relative to the largest, or the error with which the
run ended.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.cuda.guard import library

gc.disable()
ctypes.CDLL(str(library()))  # before torch
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils._pytree import tree_map_only  # noqa: E402

from hype_bench.contract.compose import Composed, compose  # noqa: E402
from hype_bench.contract.context import Context  # noqa: E402
from hype_bench.contract.method import Backward, Hooks, Method  # noqa: E402
from hype_bench.contract.objective import Batch  # noqa: E402
from hype_bench.contract.registry import build  # noqa: E402
from hype_bench.models.checkpoint import locate  # noqa: E402
from hype_bench.models.loading import load_classifier  # noqa: E402
from hype_bench.testing.composed import configured, loaded  # noqa: E402
from hype_bench.testing.copies import copies_of  # noqa: E402
from hype_bench.testing.tiny import (  # noqa: E402
    STILL_OPTIONS,
    load_tokenizer_once,
    options,
    outputs_for,
    without_dropout,
)
from hype_bench.training import loop, losses  # noqa: E402
from tests.cuda.device import COUNTS, Cuda  # noqa: E402
from tests.cuda.noise import same_noise  # noqa: E402
from tests.cuda.waits import PACKAGE  # noqa: E402

SHORT: tuple[str, ...] = ("training.max_steps=3", "training.learning_rate=1e-4")
SHORT = (*SHORT, "training.batch_size=8", "data.max_train_examples=16", "data.max_eval_examples=8")
LAYERS = 2
COUNTED = 2  # the first update of all allocates, the last one waits for what is logged


class WithoutDropout(Method):
    """Dropout masks of the two devices differ, so that only runs without dropout can be compared."""

    def prepare(self, model: Any, context: Context) -> Hooks:
        without_dropout(model)
        return Hooks()


class Window(Method):
    """Counts from the forward pass of an update to that of the last one, which is one update or, where there are
    phases, several; the launches are those of the first of them, after which what techniques keep goes through the
    host and back, as in a checkpoint."""

    composed: Composed | None = None

    def prepare(self, model: Any, context: Context) -> Hooks:
        updates = 0

        def backward(micro_batches: list[Batch], inner: Backward) -> torch.Tensor:
            nonlocal updates
            updates += 1
            COUNTS.on = False
            if updates == COUNTED + 1:
                counted = {"launches": COUNTS.launches, "bytes": COUNTS.bytes, "operations": dict(COUNTS.operations)}
                context.facts["one_update"] = counted
                if self.composed is not None:
                    state = tree_map_only(torch.Tensor, lambda kept: kept.cpu(), self.composed.state(model))
                    self.composed.restore(state, model)
            COUNTS.on = COUNTED <= updates < context.updates
            return inner(micro_batches)

        return Hooks(backward=backward)


@cache
def _copies(*arguments: Any) -> Callable[[], Any]:
    """Of two layers, and eight times as large linear maps, or attention would be the same whatever its scores are."""
    model = load_classifier(*arguments)
    depth = model.config.num_hidden_layers
    del next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth)[LAYERS:]
    model.config.num_hidden_layers = LAYERS
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data.mul_(8)
    return copies_of(model)


def load_once(checkpoint: Any, outputs: int, dropout: float, seed: int, names: Any) -> Any:
    """In place of ``load_classifier``, which takes a third of a run as short as these."""
    return _copies(checkpoint, outputs, dropout, seed, tuple(names))()


def run(case: dict[str, Any], device: str) -> loop.Outcome:
    """Three updates, one of them counted if they are on the stand-in."""
    task = "demo_rte" if outputs_for(case["technique"]) > 1 else "demo_stsb"
    overrides = (
        f"task={task}",
        f"model=tiny_{case['family']}",
        f"training.precision={case['precision']}",
        *case["settings"],
    )
    config, outcome = replace(configured(*SHORT, *overrides), device=device), loop.Outcome()
    own, window = options(case["technique"], case["family"]), Window()
    methods: dict[str, Method] = {"window": window} if device == "cuda" else {}
    if not case["dropout"]:
        methods["without_dropout"] = WithoutDropout()
        own |= STILL_OPTIONS.get(case["technique"], {})
    methods |= build({case["technique"]: own})

    def compose_to_resume(*arguments: Any) -> Composed:
        hooks = compose(*arguments)
        window.composed = hooks if all(method.resumable for method in methods.values()) else None
        return hooks

    with mock.patch.object(loop, "compose", compose_to_resume):
        loop.fine_tune(config, loaded(config), locate(config.model), methods, outcome)
    return outcome


def result(case: dict[str, Any]) -> dict[str, Any]:
    COUNTS.reset()
    try:
        with Cuda():
            on_cuda = run(case, "cuda")
    except Exception as error:
        COUNTS.on = False
        frames = traceback.extract_tb(error.__traceback__)
        places = [
            f"{Path(f.filename).name} {f.name}:{f.lineno}" for f in frames if Path(f.filename).is_relative_to(PACKAGE)
        ]
        return {"error": f"{type(error).__name__}: {error} @ {' < '.join(places[:-4:-1])}"}
    counted = on_cuda.facts["one_update"] | {
        "synchronisations": COUNTS.synchronisations,
        "copies": COUNTS.copies,
        "points": [row["update"] for row in on_cuda.curve],
    }
    if case["dropout"] or case["precision"] == "fp16":  # the CPU has no fp16
        return counted
    with same_noise():
        on_cpu = run(case, "cpu")
    logits, expected = (next(iter(outcome.evaluations.values())).logits for outcome in (on_cuda, on_cpu))
    return counted | {"difference": float(np.abs(logits - expected).max() / np.abs(expected).max())}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    gc.freeze()  # what is imported stays
    gc.enable()
    losses.LOG_EVERY = 1  # an update that logs waits no more than any other
    with mock.patch.multiple(loop, load_classifier=load_once, load_tokenizer=load_tokenizer_once):
        for case in json.load(sys.stdin):
            print(json.dumps(case | result(case)), flush=True)


if __name__ == "__main__":
    main()
