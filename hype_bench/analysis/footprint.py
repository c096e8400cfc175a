"""What a technique costs: time of an update, peak memory and tokens a second, relative to vanilla."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.config import RunConfig
from hype_bench.contract.method import Method
from hype_bench.contract.registry import build
from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.loading import load_tokenizer
from hype_bench.options import UserError, number
from hype_bench.tasks.data import Split, TaskData
from hype_bench.training import device
from hype_bench.training.batches import training_order
from hype_bench.training.loop import Outcome, fine_tune
from hype_bench.training.seeds import derive
from hype_bench.training.tokens import tokenise
from hype_bench.training.turns import WARM_UP, Turn, rounds, spawning

Methods = Mapping[str, Mapping[str, Any]]  # names of techniques, with their options

_SCORED = 16  # examples of the development set: scoring is not measured
_ALONE = 4  # updates of a process whose memory is measured
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # glibc: freed memory goes back


@dataclass(frozen=True)
class Setting:
    """What is trained for a few updates, with these or other techniques: a run's settings, data and checkpoint."""

    run: RunConfig
    data: TaskData
    checkpoint: Checkpoint

    def train(self, methods: Methods, updates: int, **also: Method) -> Outcome:
        """A run of so many updates."""
        training = replace(
            self.run.training, max_steps=updates, epochs=None, warmup_steps=1, warmup_ratio=None, evaluate_every=0
        )
        first = self.data.evaluation[0]
        few = Split(first.name, tuple(c[:_SCORED] for c in first.texts), first.labels[:_SCORED], first.rows[:_SCORED])
        data = replace(self.data, evaluation=[few], selection=None, test=[])
        outcome = Outcome()
        chosen = {**build({name: dict(values) for name, values in methods.items()}), **also}
        fine_tune(replace(self.run, training=training), data, self.checkpoint, chosen, outcome)
        return outcome

    def tokens(self, updates: int) -> list[int]:
        """Of each update, without padding."""
        lengths = tokenise(self.data.train, load_tokenizer(self.checkpoint), self.run.data.max_length).lengths
        seed = derive(self.run.seed, "order")
        order = training_order(len(lengths), self.run.training.batch_size, updates, seed)
        return [int(lengths[batch].sum()) for batch in order]


@dataclass(frozen=True)
class Cost:
    """``seconds``: of every counted update; ``memory``: bytes at the peak; ``facts``: what techniques measured."""

    seconds: list[float]
    memory: int
    facts: Mapping[str, Any]


def costs(setting: Setting, programs: Mapping[str, Methods], updates: int) -> dict[str, Cost]:
    """The cost of each program, in as many updates on the same batches, in turns with the others.

    A machine's clock and its neighbours change within seconds; in turns, an update each, all meet the same. Memory is
    the peak of a process of its own: on a GPU what tensors took, on a CPU the whole process.
    """
    count = WARM_UP + 1 + updates
    in_turns = {name: partial(_take_turns, setting, methods, count) for name, methods in programs.items()}
    timed = rounds(in_turns, updates)
    alone = {name: _alone(setting, methods) for name, methods in programs.items()}
    return {name: Cost([seconds[name].wall for seconds in timed], *alone[name]) for name in programs}


def relative(technique: Cost, vanilla: Cost) -> dict[str, float]:
    """``update``: the median of the ratios of updates that were made in turns; ``memory``: of the peaks."""
    ratios = [own / plain for own, plain in zip(technique.seconds, vanilla.seconds, strict=True)]
    return {"update": statistics.median(ratios), "memory": technique.memory / vanilla.memory}


def _take_turns(setting: Setting, methods: Methods, updates: int, turn: Turn) -> None:
    setting.train(methods, updates, turn=turn)


def _alone(setting: Setting, methods: Methods) -> tuple[int, Mapping[str, Any]]:
    """Peak memory, and facts, of a process that makes a few updates."""
    reader, writer = multiprocessing.Pipe()
    with _environment(_GIVE_BACK), spawning() as context:
        process = context.Process(target=_report_memory, args=(setting, methods, writer), daemon=True)
        process.start()
    writer.close()
    try:
        peak, facts = reader.recv()
    except EOFError:
        raise UserError("the process whose memory is measured has ended: was it killed for want of memory?") from None
    finally:
        process.join()
    return int(peak), facts


def _report_memory(setting: Setting, methods: Methods, writer: Connection) -> None:
    device.keep_memory = lambda: None  # or the peak is what was kept and not what was in use
    outcome = setting.train(methods, _ALONE)
    writer.send((outcome.peak_memory, {key: fact for key, fact in outcome.facts.items() if key.endswith("_seconds")}))


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started within."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@dataclass(frozen=True)
class Footprint(Analysis):
    """Time of an update, peak memory and tokens a second of a run's techniques, beside vanilla's.

    The first score, ``update``, is the time of an update over that of vanilla: the median of the ratios of updates that
    both make in turns on the same batches, so that the machine's clock has no part in it. ``memory`` is the peak of a
    process with these techniques over that of one with vanilla. ``tokens_per_second`` counts tokens without padding,
    and ``gigabytes`` (10^9 bytes) is the peak itself: on a GPU what tensors took, on a CPU the whole process. What a
    technique does once before the first update is not in the time; the record names its seconds where the technique
    measures them. Nothing is read of the run but its settings: it is not trained.

    Args:
        updates: how many are timed, after three that are not.

    Claim: HyPe costs a few percent of time and no memory; R-Drop and R3F need 16 GB where HyPe needs 11 GB.

    Source: Yuan et al. 2023, "HyPe", ACL, section 5.2, https://aclanthology.org/2023.acl-long.182

    Cost: about two times the timed updates, of the techniques and of vanilla, and four starts of a process.
    """

    metric = "value"
    needs_weights = False
    updates: int = number(20, least=1)

    def measure(self, trained: Trained) -> Measured:
        setting = Setting(trained.run, trained.data, trained.checkpoint)
        cost = costs(setting, {"vanilla": {"vanilla": {}}, "technique": trained.run.methods}, self.updates)
        vanilla, technique = cost["vanilla"], cost["technique"]
        tokens = sum(islice(setting.tokens(WARM_UP + 1 + self.updates), WARM_UP + 1, None))
        values = {
            **relative(technique, vanilla),
            "tokens_per_second": tokens / sum(technique.seconds),
            "gigabytes": technique.memory / 1e9,
        }
        measured = Measured(scores={name: {"value": value} for name, value in values.items()})
        measured.arrays["seconds"] = np.asarray([technique.seconds, vanilla.seconds])
        measured.facts |= {
            "vanilla_tokens_per_second": tokens / sum(vanilla.seconds),
            "vanilla_gigabytes": vanilla.memory / 1e9,
            "before_the_first_update": dict(technique.facts),
        }
        return measured
