"""How seconds of CPU grow: with examples, with tokens of an example, with records in a folder.

    make bench-growth                                    all three, to results/bench/growth.md and growth.png
    python scripts/bench_growth.py --of examples         one of them, printed only

A slope of 1 in logarithms is time in proportion to size. What starts a process is in every number, so that the slope is
that between the two sizes where it is steepest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from cases import OUT, ROOT, Case
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hype_bench.contract.registry import build
from hype_bench.models.checkpoint import locate
from hype_bench.render.plots.style import DASHED, GREY
from hype_bench.runs.check import checksum_of
from hype_bench.runs.identity import digest
from hype_bench.tasks.data import Split
from hype_bench.training.loop import Outcome, fine_tune
from hype_bench.training.turns import WARM_UP, Turn, rounds

WORDS = ("cat", "dog", "rain", "river", "hill", "house", "saw", "ran", "fell", "slept", "old", "green", "the", "and")
SIZES = {
    "examples": (1_000, 4_000, 16_000, 64_000, 400_000),
    "tokens": (16, 32, 64, 128, 256, 512),
    "records": (10, 100, 1_000, 10_000, 100_000),
}
MODELS, TASKS, METHODS, RATES, SEEDS = 4, 8, 30, 5, 21  # of the records; one of each product
UPDATES = 8  # of every length, batch 16


@dataclass(frozen=True)
class Curve:
    """Seconds of CPU at every size."""

    name: str
    seconds: dict[int, float]

    @property
    def steepest(self) -> tuple[float, int, int]:
        """The greatest slope in logarithms between two sizes that follow one another, and the two."""
        return max(
            (math.log(self.seconds[large] / self.seconds[small]) / math.log(large / small), small, large)
            for small, large in pairwise(self.seconds)
        )


def of_examples(folder: Path) -> list[Curve]:
    """Runs of four updates on files of sentences: those of training are tokenised, those of the dev set scored."""
    names = ("training examples, first run", "training examples, second run", "examples of the dev set, tiny encoder")
    curves: dict[str, dict[int, float]] = {name: {} for name in names}
    for size in SIZES["examples"]:
        many, few = sentences(folder / f"{size}.csv", size), sentences(folder / "few.csv", 100)
        first, second, scored = names
        for name, seed in ((first, 1), (second, 2)):
            curves[name][size] = run(folder, seed, "minilm", many, few)
        curves[scored][size] = run(folder, 1, "tiny_bert", few, many)
    return [Curve(name, seconds) for name, seconds in curves.items()]


def run(folder: Path, seed: int, model: str, train: Path, validation: Path) -> float:
    """A run of four updates in a process of its own; its tokens stay in a cache of this folder."""
    return cpu_seconds(
        str(ROOT / "run.py"),
        *("task=custom", f"task.train_file={train}", f"task.validation_file={validation}"),
        *("task.text_columns=[sentence]", f"model={model}", f"seed={seed}", "training.max_steps=4", "tracker=none"),
        f"results_dir={folder / 'runs' / train.stem}",
        cache=folder / "cache",
    )


def sentences(path: Path, size: int) -> Path:
    """A CSV of sentences of 4 to 20 words, no two alike, in two classes."""
    draw = random.Random(size)
    rows = (f"{' '.join(draw.choices(WORDS, k=draw.randint(3, 19)))} {i},{i % 2}\n" for i in range(size))
    path.write_text("sentence,label\n" + "".join(rows), encoding="utf-8")
    return path


def of_tokens(folder: Path) -> list[Curve]:
    """Updates of MiniLM on 16 examples that all have the same number of tokens, in turns."""
    programs = {str(length): partial(updates_of, length) for length in SIZES["tokens"]}
    timed = rounds(programs, UPDATES)
    seconds = {length: statistics.median(turns[str(length)].cpu for turns in timed) for length in SIZES["tokens"]}
    return [Curve("an update, batch 16", seconds)]


def updates_of(length: int, turn: Turn) -> None:
    case = Case.of("cola", UPDATES + WARM_UP + 1, "minilm", f"data.max_length={length}")
    draw, count = random.Random(length), 16 * 32
    texts = [" ".join(draw.choices(WORDS, k=2 * length)) for _ in range(count)]
    train = Split("train", (texts,), np.arange(count) % 2, np.arange(count))
    methods = {**build({"vanilla": {}}), "turn": turn}
    fine_tune(case.run, replace(case.data, train=train), locate(case.run.model), methods, Outcome())


def of_records(folder: Path) -> list[Curve]:
    """The verbs that read all records of a folder; copies of one with other names, seeds and scores."""
    few = sentences(folder / "few.csv", 100)
    run(folder, 1, "tiny_bert", few, few)
    (path,) = folder.glob("runs/*/runs/*/result.json")
    record = json.loads(path.read_text())
    verbs = {"status, without a cache": "status", "status": "status", "table": "table"}
    curves: dict[str, dict[int, float]] = {name: {} for name in verbs}
    for size in SIZES["records"]:
        results = folder / f"records_{size}"
        write_records(results, record, size)
        for name, verb in verbs.items():  # the first one makes the cache
            curves[name][size] = cpu_seconds("-m", "hype_bench.cli", verb, "--results-dir", str(results))
    return [Curve(name, seconds) for name, seconds in curves.items()]


def write_records(results: Path, record: dict[str, Any], size: int) -> None:
    draw = random.Random(size)
    axes = itertools.product(range(RATES), range(MODELS), range(TASKS), range(METHODS), range(SEEDS))
    for rate, model, task, method, seed in itertools.islice(axes, size):
        name, names = f"method_{method}", {"model": f"model_{model}", "task": f"task_{task}"}
        training = record["parts"]["training"] | {"learning_rate": 1e-5 * (1 + rate)}
        parts = record["parts"] | {"methods": [[name, {}]], "seed": seed, "training": training, "data": f"{task:032}"}
        one = record | {
            "label": record["label"] | names | {"method": name, "seed": seed},
            "parts": parts | {"model": f"content:{model:032}"},
            "scores": {score: draw.random() for score in record["scores"]},
            "checksum": None,
        }
        path = results / "runs" / digest({"of": [rate, model, task, method, seed]}) / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(one | {"checksum": checksum_of(one)}, indent=1), encoding="utf-8")
        os.utime(path, (path.stat().st_mtime - 60,) * 2)  # what is younger may still change, and is not kept


def cpu_seconds(*arguments: str, cache: Path | None = None) -> float:
    """Of a Python program with one thread, which waits for no other, in user and system mode."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({} if cache is None else {"HYPE_BENCH_CACHE": str(cache)})
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


CURVES: dict[str, Callable[[Path], list[Curve]]] = {
    "examples": of_examples,
    "tokens": of_tokens,
    "records": of_records,
}


def table(of: str, curves: list[Curve]) -> str:
    sizes = SIZES[of]
    lines = [
        f"| seconds of CPU, by number of {of} | {' | '.join(f'{size:,}' for size in sizes)} | steepest slope |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for curve in curves:
        slope, small, large = curve.steepest
        numbers = " | ".join(f"{curve.seconds[size]:.3g}" for size in sizes)
        lines.append(f"| {curve.name} | {numbers} | {slope:.2f} ({small:,} to {large:,}) |")
    return "\n".join(lines)


def picture(measured: dict[str, list[Curve]]) -> Figure:
    """A panel for each, both axes in logarithms, with slopes of 1 behind."""
    figure = Figure(figsize=(4 * len(measured), 3.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (of, curves) in zip(figure.subplots(1, len(measured), squeeze=False).flat, measured.items(), strict=True):
        for curve in curves:
            axes.loglog(*zip(*curve.seconds.items(), strict=True), marker="o", markersize=4, label=curve.name)
        low, high = axes.get_ylim()
        smallest, largest = SIZES[of][0], SIZES[of][-1]
        for curve in curves:
            line = [curve.seconds[largest] * size / largest for size in (smallest, largest)]
            axes.loglog((smallest, largest), line, color=GREY, linestyle=DASHED, linewidth=0.7, zorder=0)
        axes.set_ylim(low, high)
        axes.xaxis.minorticks_off()
        axes.set_xticks(SIZES[of], [f"{size:,}" for size in SIZES[of]])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(labelsize=7, which="both")
        axes.set_xlabel(of)
        axes.set_ylabel("seconds of CPU")
        axes.legend(fontsize=7)
    return figure


HEAD = """# How time grows

`make bench-growth`: seconds of CPU, user and system; the slope is that in logarithms (1: in proportion) between the two
sizes where it is steepest. Training examples are read and tokenised in a run of four updates with one thread, twice:
the second run finds their tokens in the cache. Those of the dev set are scored by an encoder of almost no arithmetic,
so that what is counted is ours. Records: `status` and `table` of a whole folder. All these include the start of a
process.

Tokens: an update of MiniLM-L6 on 16 examples of that length, all threads. What is steeper than 1 there is attention,
which grows with the square of the length: 10 % of the products at 256 tokens, 18 % at 512.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=CURVES)
    chosen = parser.parse_args().of
    measured = {}
    for of in [chosen] if chosen else CURVES:
        with tempfile.TemporaryDirectory() as folder:
            measured[of] = CURVES[of](Path(folder))
        print(table(of, measured[of]), flush=True)
    if chosen is None:
        tables = "\n\n".join(table(of, curves) for of, curves in measured.items())
        text = f"{HEAD}{tables}\n\nDashed: in proportion.\n\n![](growth.png)\n"
        (OUT / "growth.md").write_text(text, encoding="utf-8")
        picture(measured).savefig(OUT / "growth.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
