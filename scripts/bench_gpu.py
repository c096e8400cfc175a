"""Milliseconds per update on a GPU, this loop beside ``transformers.Trainer``; table to results/bench/gpu.md.

    make bench-gpu                                      all of it, below 9 minutes on an H100
    python scripts/bench_gpu.py --device cpu --updates 2 --layers 2      tries the script without a GPU

What is trained stands in ``gpu_arms.py``. Every arm is a process; each trains on the same batches after a warm-up, and
is timed by CUDA events. What was measured is printed as JSON and then as tables, the first of which says which targets
hold. On a machine without a package index, wheels must travel: transformers, huggingface_hub, tokenizers, hydra-core,
omegaconf, datasets, dill, multiprocess, peft, and antlr4-python3-runtime, of which there is no wheel
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
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from gpu_arms import OURS, PRECISIONS, SHAPES, TECHNIQUES, TRAINERS, Arm, build_checkpoint

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("rte", "cola")
ABOUT = """\
BERT-large's shape with random weights, texts with the lengths of RTE and CoLA, batches of 16; updates after a warm-up,
by CUDA events, every arm a process. `captured` is this loop, `eager` the same with `training.cuda_graphs=off`. The last
column is the geometric mean over both tasks and both ways of padding."""
Results = dict[str, Any]


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


class Programs:
    """Processes of ``gpu_arms.py``; one is always ahead: it has imported everything, and waits for what to measure."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        program = str(Path(__file__).with_name("gpu_arms.py"))
        self.script = [sys.executable, program, arguments.device, str(arguments.layers or 0)]
        self.ahead = self._spawn()

    def start(self, arm: Arm) -> subprocess.Popen[str]:
        process, self.ahead = self.ahead, self._spawn()
        assert process.stdin is not None
        print(json.dumps(asdict(arm)), file=process.stdin, flush=True)
        return process

    def measure(self, arm: Arm) -> dict[str, Any]:
        """Task -> what it took."""
        return result_of(self.start(arm))

    def close(self) -> None:
        self.ahead.communicate()

    def _spawn(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"an arm ended with exit code {process.returncode}; its error is above")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def at_once(count: int, programs: Programs, arguments: argparse.Namespace) -> float:
    """Updates a second of all of ``count`` runs of MiniLM's shape on one card together."""
    updates = arguments.updates * 5
    with tempfile.TemporaryDirectory(suffix=f"_{count}") as barrier:
        arm = Arm(
            "captured", tasks=("rte",), shape="minilm", updates=updates, warm_up=arguments.updates * 5, barrier=barrier
        )
        results = [result_of(process)["rte"] for process in [programs.start(arm) for _ in range(count)]]
    first, last = min(r["clock"][0] for r in results), max(r["clock"][1] for r in results)
    return float(count * updates / (last - first))


def in_turns(count: int, programs: Programs, arguments: argparse.Namespace) -> float:
    """Updates a second of all of ``count`` runs of MiniLM's shape that take turns in one process."""
    warm_up = arguments.updates * 5
    arm = Arm("captured", tasks=("rte",), shape="minilm", updates=warm_up, warm_up=warm_up, runs=count)
    return count * 1000 / float(programs.measure(arm)["rte"]["ms"])


def beside_the_trainer(results: Results, programs: Programs, arguments: argparse.Namespace) -> None:
    """Precision -> way of training -> task -> milliseconds and memory."""
    for precision in PRECISIONS if arguments.device == "cuda" else ("fp32",):
        row: Results = {}
        for way in (*OURS, *TRAINERS):
            row[way] = programs.measure(arm_of(way, precision, arguments))
            show(precision, way, row[way])
        results[precision] = row


def of_techniques(results: Results, programs: Programs, arguments: argparse.Namespace) -> None:
    """Technique -> milliseconds and memory of RTE in fp32."""
    for method in ("vanilla", *TECHNIQUES):
        arm = replace(arm_of("captured", "fp32", arguments), tasks=("rte",), method=method)
        results[method] = programs.measure(arm)["rte"]
        show(method, results[method])


def of_small_runs(results: Results, programs: Programs, arguments: argparse.Namespace) -> None:
    """Updates a second of MiniLM's shape on one card: one run without graphs, several at once, several in turns."""
    alone = Arm("eager", tasks=("rte",), shape="minilm", updates=arguments.updates * 2)
    results["one run, eager"] = 1000 / programs.measure(alone)["rte"]["ms"]
    for how, measure, counts in (("at once", at_once, (1, 2, 4, 8)), ("in turns", in_turns, (2, 4, 8))):
        for count in counts:
            results[f"{count} {how}"] = measure(count, programs, arguments)
            show(count, how, results[f"{count} {how}"])


def arm_of(way: str, precision: str, arguments: argparse.Namespace) -> Arm:
    """Every size of a row is met twice before it is captured, so that the warm-up of a captured run is longer."""
    return Arm(way, precision, updates=arguments.updates, warm_up=2 * arguments.updates if way == "captured" else 15)


def show(*parts: object) -> None:
    print(*parts, flush=True)


def report(found: Mapping[str, Any]) -> str:
    """What was measured, as Markdown, and which targets hold."""
    machine = ", ".join(f"{n}: {v:.3g}" if isinstance(v, float) else f"{n}: {v}" for n, v in found["machine"].items())
    lines = ["# Milliseconds per update on a GPU", "", f"Written by `make bench-gpu`. {machine}.", "", *_verdict(found)]
    if rows := found.get("beside the Trainer"):
        headings = ["precision", *(f"{way}: {task}" for way in (*OURS, *TRAINERS) for task in TASKS)]
        lines += ["", ABOUT, "", *_head(*headings, "Trainer / captured")]
        for precision, arms in rows.items():
            times = [arms[way][task]["ms"] for way in (*OURS, *TRAINERS) for task in TASKS]
            lines.append(_line([precision, *(f"{t:.1f}" for t in times), f"{_times_the_trainer(arms):.2f}"]))
    if techniques := found.get("techniques"):
        lines += ["", "Techniques, on RTE in fp32:", "", *_head("technique", "time / vanilla", "memory / vanilla")]
        for name in techniques:
            ratios = [_beside_vanilla(techniques, name, what) for what in ("ms", "memory")]
            lines.append(_line([name, *(f"{ratio:.3f}" for ratio in ratios)]))
    if small := found.get("small runs"):
        lines += ["", *_head("MiniLM", "updates / s"), *(_line([name, f"{rate:.0f}"]) for name, rate in small.items())]
    return "\n".join(lines) + "\n"


def _verdict(found: Mapping[str, Any]) -> list[str]:
    """A table of the targets whose part was measured."""
    lines = [target.line(found[target.part]) for target in TARGETS if target.is_measured(found)]
    return [*_head("target", "bound", "measured", "holds"), *lines] if lines else []


def _speed_in(precision: str, rows: Mapping[str, Any]) -> float:
    return _times_the_trainer(rows[precision])


def _times_the_trainer(arms: Mapping[str, Any]) -> float:
    """Geometric mean over tasks and ways of padding."""
    ratios = [arms[way][task]["ms"] / arms["captured"][task]["ms"] for way in TRAINERS for task in TASKS]
    return statistics.geometric_mean(ratios)


def _beside_vanilla(techniques: Mapping[str, Any], name: str, what: str) -> float:
    return float(techniques[name][what] / max(techniques["vanilla"][what], 1e-9))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*headings: str) -> list[str]:
    return [_line(headings), _line(["---"] * len(headings))]


@dataclass(frozen=True)
class Target:
    """``value`` of a part's results is to be at least, or at most, ``bound``; it needs the result ``last``."""

    part: str
    last: str
    what: str
    value: Callable[[Any], float]
    bound: float
    most: bool = False

    def is_measured(self, found: Mapping[str, Any]) -> bool:
        return self.last in found.get(self.part, ())

    def line(self, results: Any) -> str:
        value = self.value(results)
        holds = value <= self.bound if self.most else value >= self.bound
        sign = "at most" if self.most else "at least"
        return _line([self.what, f"{sign} {self.bound:g}", f"{value:.3f}", "yes" if holds else "**no**"])


def _beside(name: str, what: str) -> Callable[[Any], float]:
    return lambda techniques: _beside_vanilla(techniques, name, what)


TARGETS = [
    *(
        Target(
            "beside the Trainer",
            precision,
            f"{precision}, times the Trainer's speed",
            partial(_speed_in, precision),
            bound,
        )
        for precision, bound in (("fp32", 2.0), ("tf32", 2.3), ("bf16", 2.6))
    ),
    Target("techniques", "hype_n", "hype_n, time / vanilla", _beside("hype_n", "ms"), 1.03, most=True),
    Target("techniques", "r_drop", "r_drop, time / vanilla", _beside("r_drop", "ms"), 1.95, most=True),
    Target("techniques", "hype_n", "hype_n, memory / vanilla", _beside("hype_n", "memory"), 1.02, most=True),
    Target(
        "small runs",
        "1 at once",
        "MiniLM, one run / the loop without graphs",
        lambda r: r["1 at once"] / r["one run, eager"],
        4,
    ),
    Target("small runs", "4 at once", "MiniLM, four at once / one", lambda r: r["4 at once"] / r["1 at once"], 2),
    Target("small runs", "4 in turns", "MiniLM, four in turns / one", lambda r: r["4 in turns"] / r["1 at once"], 2),
]
PARTS = {"beside the Trainer": beside_the_trainer, "techniques": of_techniques, "small runs": of_small_runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--out", type=Path, help="folder for gpu.md; without it, results/bench if there is a GPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("bench-gpu: skipped, there is no GPU here")
        return
    for shape in SHAPES:
        build_checkpoint(shape, arguments.layers)
    found, failures = measured(arguments)
    print(json.dumps(found))
    print(report(found))
    out = arguments.out or (ROOT / "results" / "bench" if arguments.device == "cuda" else None)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "gpu.md").write_text(report(found))
    sys.exit("\n".join(failures) or None)


def measured(arguments: argparse.Namespace) -> tuple[Results, list[str]]:
    """What each part measured, up to an arm that failed, and which parts have one."""
    found: Results = {"machine": ceilings()}
    programs, failures = Programs(arguments), list[str]()
    for part in arguments.parts:
        found[part] = {}
        try:
            PARTS[part](found[part], programs, arguments)
        except RuntimeError as error:
            failures.append(f"{part}: {error}")
    programs.close()
    return found, failures


if __name__ == "__main__":
    main()
