"""Update time and peak memory of every technique relative to vanilla: same batches, one run.

    make bench-methods                                          MiniLM on this machine, all techniques
    python scripts/bench_methods.py --methods hype_n r_drop     some of them
    python scripts/bench_methods.py --model bert_large          another encoder, on a GPU if there is one

Measured as ``analysis=footprint`` does (``hype_bench/analysis/footprint.py``). Real data where HYPE_BENCH_DATA is set,
else the generated task.
"""

from __future__ import annotations

import argparse
import csv
import json
from typing import Any

import torch
from bench import OUT, Case

from hype_bench.analysis.footprint import Methods, Setting, costs, relative
from hype_bench.contract.registry import discover
from hype_bench.models.checkpoint import locate

LIGHT = ("hype_n", "hype_u", "noisytune", "neftune", "child_tuning_f", "child_tuning_d", "hft", "ema", "swa", "llrd")
BOUNDS = {**dict.fromkeys(LIGHT, 1.05), "mixout": 1.4, "r_drop": 2.0, "r3f": 2.0}  # times vanilla's update
MEMORY_BOUNDS = {"hype_n": 1.02, "hype_u": 1.02}
OPTIONS = {"swa": {"start": 0.0}, "ema": {"decay": 0.99}, "dps": {"stage_ratio": 0.25}}  # so that they act at all


def options_of(model: str, name: str) -> dict[str, Any]:
    """Published defaults, but for what needs a long run or a deeper encoder."""
    return {"layers": 2} if name == "reinit" and model == "minilm" else OPTIONS.get(name, {})


def measure(arguments: argparse.Namespace, case: Case) -> list[dict[str, Any]]:
    setting = Setting(case.run, case.data, locate(case.run.model))
    rows = []
    for name in arguments.methods:
        programs: dict[str, Methods] = {
            "vanilla": {"vanilla": {}},
            "technique": {name: options_of(arguments.model, name)},
        }
        cost = costs(setting, programs, arguments.updates)
        rows.append({"method": name, **relative(cost["technique"], cost["vanilla"])})
        rows[-1]["once"] = cost["technique"].facts.get("fisher_seconds")
        print(json.dumps(rows[-1]), flush=True)
    return rows


def case_of(arguments: argparse.Namespace) -> Case:
    examples = f"data.max_train_examples={16 * arguments.updates}"
    return Case.of(arguments.task, arguments.updates, arguments.model, examples)


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
        lines.append(f"| `{name}` | {row['update']:.2f} | {bounds[0]} | {row['memory']:.2f} | {bounds[1]} |")
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
        writer.writerows([row["method"], f"{row['update']:.2f}", f"{row['memory']:.2f}"] for row in rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=[name for name in discover() if name != "vanilla"])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--task", default="rte", choices=("rte", "cola", "mrpc", "stsb"))
    parser.add_argument("--updates", type=int, default=20)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    case = case_of(arguments)
    rows = measure(arguments, case)
    text = report(rows, arguments, case)
    print(text)
    if set(arguments.methods) >= set(discover()) - {"vanilla"}:  # a part of the table would replace the whole
        write(rows, text)


if __name__ == "__main__":
    main()
