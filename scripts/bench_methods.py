"""Update time and peak memory of every technique relative to vanilla: same batches, one run.

    make bench-methods                                          MiniLM on this machine, all techniques
    python scripts/bench_methods.py --methods hype_n r_drop     some of them
    python scripts/bench_methods.py --model bert_large          another encoder, on a GPU if there is one

Each technique takes turns with vanilla, an update each on the same batch (``turns.py``); what counts is the median of
the ratios. What a technique does once before the first update is not in them. Peak memory is that of a process of its
own. Real data where HYPE_BENCH_DATA is set, else the generated task.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from functools import partial
from typing import Any

import torch
from bench import OUT, Case
from turns import WARM_UP, Turn, rounds

from hype_bench.contract.registry import build, discover
from hype_bench.models.checkpoint import locate
from hype_bench.training import device
from hype_bench.training.loop import Outcome, fine_tune

LIGHT = ("hype_n", "hype_u", "noisytune", "neftune", "child_tuning_f", "child_tuning_d", "hft", "ema", "swa", "llrd")
BOUNDS = {**dict.fromkeys(LIGHT, 1.05), "mixout": 1.4, "r_drop": 2.0, "r3f": 2.0}  # times vanilla's update
MEMORY_BOUNDS = {"hype_n": 1.02, "hype_u": 1.02}
OPTIONS = {"swa": {"start": 0.0}, "ema": {"decay": 0.99}, "dps": {"stage_ratio": 0.25}}  # so that they act at all


def train(name: str, updates: int, arguments: argparse.Namespace, turn: Turn) -> None:
    """A run with one technique, which ends a turn after every update."""
    case = case_of(arguments, updates)
    chosen = {**build({name: options_of(case, name)}), "turn": turn}
    fine_tune(case.run, case.data, locate(case.run.model), chosen, Outcome())


def options_of(case: Case, name: str) -> dict[str, Any]:
    """Published defaults, but for what needs a long run or a deeper encoder."""
    return {"layers": 2} if name == "reinit" and case.run.model.name == "minilm" else OPTIONS.get(name, {})


def alone(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """What :func:`main` prints of a process that makes a few updates with this technique alone.

    On a CPU its allocator gives memory back at once, so that the peak is what was in use and not what was kept.
    """
    command = [sys.executable, __file__, "--alone", name, "--model", arguments.model, "--task", arguments.task]
    give_back = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **give_back})
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    n = arguments.updates + WARM_UP + 1
    base = alone(arguments, "vanilla")["memory"]
    rows = []
    for name in arguments.methods:
        pair = {one: partial(train, one, n, arguments) for one in ("vanilla", name)}
        ratios = [seconds[name] / seconds["vanilla"] for seconds in rounds(pair, arguments.updates)]
        result = alone(arguments, name)
        rows.append({"method": name, "time": statistics.median(ratios), "memory": result["memory"] / base})
        rows[-1]["once"] = result["once"]
        print(json.dumps(rows[-1]), flush=True)
    return rows


def case_of(arguments: argparse.Namespace, updates: int) -> Case:
    examples = f"data.max_train_examples={16 * arguments.updates}"
    return Case.of(arguments.task, updates, arguments.model, examples)


def report(rows: list[dict[str, Any]], arguments: argparse.Namespace, case: Case) -> str:
    run, where = case.run, "CUDA" if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    lines = [
        "# What each technique costs, relative to vanilla",
        "",
        f"`make bench-methods`: {arguments.model} on {run.task.name}, batch {run.training.batch_size}, float32, "
        f"{where}. Time: the median of {arguments.updates} ratios of updates, each in turns with vanilla. "
        "Memory: the peak of a process of its own. The bounds are this project's own.",
        "",
        "| technique | time | bound | memory | bound |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        name = row["method"]
        bounds = [f"{value:.2f}" if value else "" for value in (BOUNDS.get(name), MEMORY_BOUNDS.get(name))]
        lines.append(f"| `{name}` | {row['time']:.2f} | {bounds[0]} | {row['memory']:.2f} | {bounds[1]} |")
    passed = [row["once"] for row in rows if row["once"]]
    if passed:
        examples = len(case.tokens)
        lines += [
            "",
            f"Child-Tuning-D's Fisher pass took {passed[0]:.1f} s over {examples} samples, once before training.",
        ]
    return "\n".join(lines) + "\n"


def write(rows: list[dict[str, Any]], text: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "methods.md").write_text(text, encoding="utf-8")
    with (OUT / "methods.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["method", "time", "memory"])
        writer.writerows([row["method"], f"{row['time']:.2f}", f"{row['memory']:.2f}"] for row in rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=[name for name in discover() if name != "vanilla"])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--task", default="rte", choices=("rte", "cola", "mrpc", "stsb"))
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.alone:
        device.keep_memory = lambda: None
        case, outcome = case_of(arguments, 4), Outcome()
        chosen = build({arguments.alone: options_of(case, arguments.alone)})
        fine_tune(case.run, case.data, locate(case.run.model), chosen, outcome)
        print(json.dumps({"memory": outcome.peak_memory, "once": outcome.facts.get("fisher_seconds")}))
        return
    rows = measure(arguments)
    text = report(rows, arguments, case_of(arguments, arguments.updates))
    print(text)
    if set(arguments.methods) >= set(discover()) - {"vanilla"}:  # a part of the table would replace the whole
        write(rows, text)


if __name__ == "__main__":
    main()
