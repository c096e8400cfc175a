"""Milliseconds per update on a GPU, this loop beside ``transformers.Trainer``; table to results/bench/gpu.md.

    make bench-gpu                                      all of it, below 9 minutes on an H100
    python scripts/bench_gpu.py --device cpu --updates 2 --layers 2      tries the script without a GPU

What is trained stands in ``gpu_arms.py``. Every arm is a process; each trains on the same batches after a warm-up, and
is timed by CUDA events. On a machine without a package index, wheels must travel: transformers, huggingface_hub,
tokenizers, hydra-core, omegaconf, datasets, dill, multiprocess, and antlr4-python3-runtime, of which there is no wheel
(``pip wheel antlr4-python3-runtime==4.9.3``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from gpu_arms import OURS, PRECISIONS, SHAPES, TECHNIQUES, TRAINERS, Arm, build_checkpoint

ROOT = Path(__file__).resolve().parents[1]


def ceilings() -> dict[str, Any]:
    """The card, versions, and what it can do: bytes copied and operations of square products, per second."""
    found: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__}
    if not torch.cuda.is_available():
        return found | {"card": "no GPU"}
    found["card"] = torch.cuda.get_device_name()
    source = torch.randn(1 << 29, device="cuda")
    target = torch.empty_like(source)
    found["copy, TB/s"] = 2 * source.nbytes / _seconds(partial(target.copy_, source)) / 1e12
    for precision, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        found[f"{precision} products, TFLOP/s"] = 2 * 8192**3 / _seconds(partial(torch.mm, a, b)) / 1e12
    return found


def _seconds(launch: Callable[[], object], repeats: int = 10) -> float:
    times = list[float]()
    for _ in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        launch()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times[3:])


def start(arm: Arm, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    program = str(Path(__file__).with_name("gpu_arms.py"))
    script = [sys.executable, program, json.dumps(asdict(arm)), arguments.device, str(arguments.layers or 0)]
    return subprocess.Popen(script, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"an arm failed: {process.args!r}")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def at_once(count: int, arguments: argparse.Namespace) -> float:
    """Updates a second of all of ``count`` runs of MiniLM's shape on one card together."""
    updates = arguments.updates * 5
    with tempfile.TemporaryDirectory(suffix=f"_{count}") as barrier:
        arm = Arm(
            "captured", tasks=("rte",), shape="minilm", updates=updates, warm_up=arguments.updates * 5, barrier=barrier
        )
        results = [result_of(process)["rte"] for process in [start(arm, arguments) for _ in range(count)]]
    first, last = min(r["clock"][0] for r in results), max(r["clock"][1] for r in results)
    return float(count * updates / (last - first))


def in_turns(count: int, arguments: argparse.Namespace) -> float:
    """Updates a second of all of ``count`` runs of MiniLM's shape that take turns in one process."""
    warm_up = arguments.updates * 5
    arm = Arm("captured", tasks=("rte",), shape="minilm", updates=warm_up, warm_up=warm_up, runs=count)
    return count * 1000 / float(result_of(start(arm, arguments))["rte"]["ms"])


def beside_the_trainer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Precision -> way of training -> task -> milliseconds and memory."""
    results: dict[str, Any] = {}
    for precision in PRECISIONS if arguments.device == "cuda" else ("fp32",):
        for way in (*OURS, *TRAINERS):
            results.setdefault(precision, {})[way] = result_of(start(arm_of(way, precision, arguments), arguments))
            show(precision, way, results[precision][way])
    return results


def of_techniques(arguments: argparse.Namespace) -> dict[str, Any]:
    """Technique -> milliseconds and memory of RTE in fp32."""
    results: dict[str, Any] = {}
    for method in ("vanilla", *TECHNIQUES):
        arm = replace(arm_of("captured", "fp32", arguments), tasks=("rte",), method=method)
        results[method] = result_of(start(arm, arguments))["rte"]
        show(method, results[method])
    return results


def of_small_runs(arguments: argparse.Namespace) -> dict[str, float]:
    """Updates a second of MiniLM's shape on one card: one run without graphs, several at once, several in turns."""
    alone = Arm("eager", tasks=("rte",), shape="minilm", updates=arguments.updates * 2)
    results = {"one run, eager": 1000 / result_of(start(alone, arguments))["rte"]["ms"]}
    for count in (1, 2, 4, 8):
        results[f"{count} at once"] = at_once(count, arguments)
        show(count, "at once", results[f"{count} at once"])
    for count in (2, 4, 8):
        results[f"{count} in turns"] = in_turns(count, arguments)
        show(count, "in turns", results[f"{count} in turns"])
    return results


def arm_of(way: str, precision: str, arguments: argparse.Namespace) -> Arm:
    """Every size of a row is met twice before it is captured, so that the warm-up of a captured run is longer."""
    return Arm(way, precision, updates=arguments.updates, warm_up=2 * arguments.updates if way == "captured" else 15)


def show(*parts: object) -> None:
    print(*parts, flush=True)


def report(found: Mapping[str, Any]) -> str:
    """What was measured, as Markdown."""
    machine = ", ".join(f"{n}: {v:.3g}" if isinstance(v, float) else f"{n}: {v}" for n, v in found["machine"].items())
    lines = ["# Milliseconds per update on a GPU", "", f"Written by `make bench-gpu`. {machine}.", ""]
    rows, tasks = found.get("beside the Trainer", {}), ("rte", "cola")
    if rows:
        ways = (*OURS, *TRAINERS)
        headings = ["precision", *(f"{way}: {task}" for way in ways for task in tasks), "Trainer / captured"]
        lines += [_line(headings), _line(["---"] * len(headings))]
    for precision, arms in rows.items():
        times = [arms[way][task]["ms"] for way in (*OURS, *TRAINERS) for task in tasks]
        ratios = [arms[way][task]["ms"] / arms["captured"][task]["ms"] for way in TRAINERS for task in tasks]
        lines.append(_line([precision, *(f"{t:.1f}" for t in times), f"{statistics.geometric_mean(ratios):.2f}"]))
    techniques = found.get("techniques", {})
    if techniques:
        lines += ["", _line(["technique", "time / vanilla", "memory / vanilla"]), _line(["---"] * 3)]
    for name, measured in techniques.items():
        plain = techniques["vanilla"]
        ratios = [measured["ms"] / plain["ms"], measured["memory"] / max(plain["memory"], 1)]
        lines.append(_line([name, *(f"{ratio:.3f}" for ratio in ratios)]))
    small = found.get("small runs", {})
    if small:
        lines += ["", _line(["MiniLM", "updates / s"]), _line(["---"] * 2)]
    lines += [_line([name, f"{rate:.0f}"]) for name, rate in small.items()]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


PARTS = {"beside the Trainer": beside_the_trainer, "techniques": of_techniques, "small runs": of_small_runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("bench-gpu: skipped, there is no GPU here")
    else:
        for shape in SHAPES:
            build_checkpoint(shape, arguments.layers)
        found: dict[str, Any] = {"machine": ceilings()}
        for part in arguments.parts:
            found[part] = PARTS[part](arguments)
        print(json.dumps(found))
        print(report(found))
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "gpu.md").write_text(report(found))


if __name__ == "__main__":
    main()
