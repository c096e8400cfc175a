"""What every technique costs: processor time of an update and peak memory, relative to vanilla on the same batches.

    make bench-methods                                          MiniLM on this machine, all techniques
    python scripts/bench_methods.py --methods hype_n r_drop     some of them
    python scripts/bench_methods.py --add                       those that the table lacks
    python scripts/bench_methods.py --model bert_large          another encoder, on a GPU if there is one

On a CPU it is the processor time of one thread, which neighbours on a shared machine take nothing of; on a GPU the time
of the clock. Every technique and every vanilla beside it has a process of its own. ``analysis=footprint`` measures a
single technique in turns with vanilla, by the clock. Real data where HYPE_BENCH_DATA is set, else the generated task.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # which does not go with forks
import torch
from cases import OUT, Case

from hype_bench.analysis.footprint import Methods, Setting
from hype_bench.contract.context import Context
from hype_bench.contract.method import Hooks, Method
from hype_bench.contract.registry import discover
from hype_bench.models.checkpoint import locate
from hype_bench.training import device

REGRESSION = "stsb"  # for techniques that need one
WARM_UP = 2  # updates that are not counted
TABLE = OUT / "methods.csv"
LIGHT = ("hype_n", "hype_u", "noisytune", "neftune", "child_tuning_f", "child_tuning_d", "hft", "ema", "swa", "llrd")
BOUNDS = {**dict.fromkeys(LIGHT, 1.05), "mixout": 1.4, "r_drop": 2.0, "r3f": 2.0}  # times vanilla's update
MEMORY_BOUNDS = {"hype_n": 1.02, "hype_u": 1.02}
OPTIONS = {"swa": {"start": 0.0}, "ema": {"decay": 0.99}, "dps": {"stage_ratio": 0.25}}  # so that they act at all


def options_of(model: str, name: str) -> dict[str, Any]:
    """Published defaults, but for what needs a long run or a deeper encoder."""
    return {"layers": 2} if name == "reinit" and model == "minilm" else OPTIONS.get(name, {})


@dataclass
class Clock(Method):
    """A technique without an effect that notes when each update ends."""

    acts_on = frozenset()
    ends: list[float] = field(default_factory=list)

    def prepare(self, model: Any, context: Context) -> Hooks:
        def note(optimizer: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter() if torch.cuda.is_available() else time.process_time())

        return Hooks(after_step=note)

    @property
    def seconds(self) -> list[float]:
        """Of every counted update."""
        return [after - before for before, after in zip(self.ends[WARM_UP - 1 :], self.ends[WARM_UP:], strict=False)]


@dataclass(frozen=True)
class Cost:
    """``seconds``: the mean of an update; ``memory``: bytes at the peak."""

    seconds: float
    memory: int

    @classmethod
    def of(cls, setting: Setting, methods: Methods, updates: int) -> Cost:
        """In a process of its own."""
        reader, writer = multiprocessing.Pipe()
        kind = "spawn" if torch.cuda.is_available() else "fork"
        process = multiprocessing.get_context(kind).Process(target=_train, args=(setting, methods, updates, writer))  # type: ignore[attr-defined]
        process.start()
        writer.close()
        try:
            return cls(*reader.recv())
        finally:
            process.join()


def _train(setting: Setting, methods: Methods, updates: int, writer: Connection) -> None:
    device.keep_memory = lambda: None  # or the peak is what was kept and not what was in use
    clock = Clock()
    outcome = setting.train(methods, WARM_UP + updates, clock=clock)
    writer.send((statistics.fmean(clock.seconds), outcome.peak_memory))


def measure(arguments: argparse.Namespace, case: Case) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cases, vanillas = {arguments.task: case}, dict[str, Cost]()
    for place, name in enumerate(arguments.methods):
        task = arguments.task if discover()[name][0].takes_classes else REGRESSION
        used = cases[task] = cases.get(task) or case_of(arguments, task)
        setting = Setting(used.run, used.data, locate(used.run.model))
        if place % arguments.vanilla_every == 0:
            vanillas.clear()
        if task not in vanillas:
            vanillas[task] = Cost.of(setting, {"vanilla": {}}, arguments.updates)
        vanilla, cost = vanillas[task], Cost.of(setting, {name: options_of(arguments.model, name)}, arguments.updates)
        rows.append({"method": name, "time": cost.seconds / vanilla.seconds, "memory": cost.memory / vanilla.memory})
        print(json.dumps(rows[-1] | {"seconds": cost.seconds, "vanilla": vanilla.seconds}), flush=True)
    return rows


def case_of(arguments: argparse.Namespace, task: str) -> Case:
    examples = f"data.max_train_examples={16 * (WARM_UP + arguments.updates)}"
    return Case.of(task, arguments.updates, arguments.model, examples)


def report(rows: list[dict[str, Any]], arguments: argparse.Namespace, case: Case) -> str:
    run, gpu = case.run, torch.cuda.is_available()
    where = "CUDA, time of the clock" if gpu else "processor time of one CPU thread"
    lines = [
        "# What each technique costs, relative to vanilla",
        "",
        f"`make bench-methods`: {arguments.model} on {run.task.name} (where a technique needs a regression, on "
        f"{REGRESSION}), batch {run.training.batch_size}, float32, {where}, torch {torch.__version__}. "
        f"Time: the mean of {arguments.updates} updates after {WARM_UP}, over "
        "vanilla's on the same batches; vanilla is measured anew before every "
        f"{arguments.vanilla_every} techniques. Memory: the peak of a process of its own, over vanilla's. The bounds "
        "are this project's own.",
        "",
        "| technique | time | bound | memory | bound |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        name = row["method"]
        bounds = [f"{value:.2f}" if value else "" for value in (BOUNDS.get(name), MEMORY_BOUNDS.get(name))]
        lines.append(f"| `{name}` | {row['time']:.2f} | {bounds[0]} | {row['memory']:.2f} | {bounds[1]} |")
    return "\n".join(lines) + "\n"


def write(rows: list[dict[str, Any]], text: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "methods.md").write_text(text, encoding="utf-8")
    with TABLE.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["method", "time", "memory"])
        writer.writerows([row["method"], f"{row['time']:.2f}", f"{row['memory']:.2f}"] for row in rows)


def written() -> list[dict[str, Any]]:
    """The rows of the table as it stands."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return [
            {"method": r["method"], **{key: float(r[key]) for key in ("time", "memory")}}
            for r in csv.DictReader(stream)
        ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=[name for name in discover() if name != "vanilla"])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--task", default="cola", choices=("rte", "cola", "mrpc"))
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="only what the table lacks; the other arguments as before")
    parser.add_argument("--vanilla-every", type=int, default=8, help="techniques for one vanilla")
    return parser.parse_args()


def main() -> None:
    arguments, before = parse(), list[dict[str, Any]]()
    if arguments.add:
        before = written()
        arguments.methods = [name for name in arguments.methods if name not in {row["method"] for row in before}]
    case = case_of(arguments, arguments.task)
    head = report([], arguments, case)
    if arguments.add and not (OUT / "methods.md").read_text(encoding="utf-8").startswith(head):
        raise SystemExit("the table was measured in another way, or on another machine: measure all, without --add")
    rows = sorted([*before, *measure(arguments, case)], key=lambda row: row["method"])
    text = report(rows, arguments, case)
    print(text)
    if {row["method"] for row in rows} >= set(discover()) - {"vanilla"}:  # a part would replace the whole
        write(rows, text)


if __name__ == "__main__":
    main()
