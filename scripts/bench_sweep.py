"""A sweep of 24 runs, from its start to its table, beside as many starts of the usual GLUE script.

    make bench-sweep                                     both sweeps, three starts of each script in between
    python scripts/bench_sweep.py --starts 24            every start of the script (hours)

MiniLM on CoLA, 1,000 examples: vanilla, no_dropout, hype_n and r_drop, six seeds each. The sweep runs once in one
process with all cores as threads, and once with ``hydra/launcher=joblib``, one thread a process. The script
(``scripts/usual_glue.py``) knows no technique: each of its starts is a plain run, on the same examples with the same
settings. Where fewer than 24 are made, their mean stands for the others. Real data where HYPE_BENCH_DATA is set, else
the generated task.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from cases import OUT, ROOT, Case

from hype_bench.models.checkpoint import locate
from hype_bench.tasks.data import Split

METHODS = ("vanilla", "no_dropout", "hype_n", "r_drop")
SWEEPS = {
    "one process": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib"],
}
SCRIPTS: dict[str, list[str]] = {
    "script, 128": [],
    "script, longest": ["--dynamic"],
}
TARGETS = {("script, 128", "joblib"): 10.0, ("script, longest", "joblib"): 2.2, ("one process", "joblib"): 1.2}


@dataclass(frozen=True)
class Run:
    """One process with those that it starts: seconds of the clock and of CPU, and what vanilla scores in it."""

    wall: float
    cpu: float
    scores: list[float]  # Matthews correlations, a run each


@dataclass(frozen=True)
class Arm:
    """All that one way of making the runs took. ``made``: of the runs, how many; the others are taken to be alike."""

    wall: float
    cpu: float
    made: int
    scores: list[float]

    @classmethod
    def of(cls, made: list[Run], wanted: int) -> Arm:
        whole = wanted / len(made)
        scores = [score for run in made for score in run.scores]
        return cls(whole * sum(run.wall for run in made), whole * sum(run.cpu for run in made), len(made), scores)


@dataclass(frozen=True)
class Sizes:
    """Of the sweep, and how many starts of the script are made."""

    examples: int
    seeds: int
    epochs: float
    starts: int

    @property
    def runs(self) -> int:
        return len(METHODS) * self.seeds


def measure(sizes: Sizes, folder: Path) -> dict[str, Arm]:
    """Every arm. Starts of the script come before, between and behind the sweeps: neighbours come and go."""
    case = Case.of("cola", 1, "minilm", f"data.max_train_examples={sizes.examples}", "data.max_eval_examples=null")
    for split in (case.data.train, *case.data.evaluation):
        write(split, folder / ("train.json" if split is case.data.train else "validation.json"))
    made: dict[str, list[Run]] = {name: [] for name in (*SCRIPTS, *SWEEPS)}
    for name, seed in in_turns(sizes.starts):
        made[name].append(
            sweep(name, case, sizes, folder) if name in SWEEPS else start(name, case, seed, sizes, folder)
        )
        print(f"{name}: {made[name][-1]}", flush=True)
    return {name: Arm.of(runs, wanted=1 if name in SWEEPS else sizes.runs) for name, runs in made.items()}


def in_turns(starts: int) -> Iterator[tuple[str, int]]:
    """Names of arms, and seeds for the script."""
    sweeps = iter(SWEEPS)
    for part in range(3):
        for seed in range(1 + part, 1 + starts, 3):
            yield from ((name, seed) for name in SCRIPTS)
        yield from ((name, 0) for name in [next(sweeps, None)] if name)


def sweep(name: str, case: Case, sizes: Sizes, folder: Path) -> Run:
    """The whole sweep, to its table."""
    results = folder / name.replace(" ", "_")
    seconds = timed([
        str(ROOT / "run.py"),
        "-m",
        "model=minilm",
        f"task={case.run.task.name}",
        f"method={','.join(METHODS)}",
        f"seed={','.join(map(str, range(1, 1 + sizes.seeds)))}",
        f"data.max_train_examples={sizes.examples}",
        f"training.epochs={sizes.epochs:g}",
        "tracker=none",
        f"results_dir={results}",
        *SWEEPS[name],
    ])  # fmt: skip
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/result.json")]
    assert len(records) == sizes.runs, f"{len(records)} of {sizes.runs} runs are done"
    plain = [record["scores"]["matthews"] for record in records if record["label"]["method"] == "vanilla"]
    return Run(*seconds, plain)


def start(name: str, case: Case, seed: int, sizes: Sizes, folder: Path) -> Run:
    """One start of the script."""
    score = folder / "score.json"
    files = [f"--{split}={folder / split}.json" for split in ("train", "validation")]
    options = [f"--model={locate(case.run.model).location}", f"--seed={seed}", f"--epochs={sizes.epochs}"]
    seconds = timed([str(ROOT / "scripts" / "usual_glue.py"), *options, *files, f"--out={score}", *SCRIPTS[name]])
    return Run(*seconds, [json.loads(score.read_text())["eval_matthews"]])


def timed(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the clock and of CPU that a Python program takes, with the processes that it waits for."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, sum(after[:2]) - sum(before[:2])


def write(split: Split, path: Path) -> None:
    rows = zip(split.texts[0], split.labels, strict=True)
    path.write_text("".join(json.dumps({"sentence": text, "label": int(label)}) + "\n" for text, label in rows))


def report(arms: dict[str, Arm]) -> str:
    lines = ["| | starts made | wall (s) | CPU (s) | vanilla's Matthews |", "|---|---|---|---|---|"]
    for name, arm in arms.items():
        score = f"{100 * statistics.fmean(arm.scores):.1f} ({len(arm.scores)})"
        lines.append(f"| {name} | {arm.made} | {arm.wall:.0f} | {arm.cpu:.0f} | {score} |")
    lines += ["", "| how many times as fast | wall | CPU | target |", "|---|---|---|---|"]
    for slow in ("script, 128", "script, longest", "one process"):
        for fast in SWEEPS:
            if slow != fast:
                wall, cpu = arms[slow].wall / arms[fast].wall, arms[slow].cpu / arms[fast].cpu
                target = TARGETS.get((slow, fast), "")
                lines.append(f"| {fast}, of {slow} | {wall:.2f} | {cpu:.2f} | {target} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=3, help="of the script, with either padding")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=float, default=3)
    options = parser.parse_args()
    sizes = Sizes(options.examples, options.seeds, options.epochs, options.starts)
    if not 1 <= sizes.starts <= sizes.runs:
        parser.error(f"--starts must be 1 to {sizes.runs}, the runs of the sweep")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = f"{folder}/datasets"  # the script's
        arms = measure(sizes, Path(folder))
    text = head(sizes) + report(arms)
    print("\n" + text)
    if sizes == Sizes(1000, 6, 3, sizes.starts):  # a smaller sweep would replace the whole one
        (OUT / "sweep.md").write_text(text, encoding="utf-8")


def head(sizes: Sizes) -> str:
    machine = f"{torch.get_num_threads()} threads of a {platform.machine()} CPU, torch {torch.__version__}"
    data = "CoLA" if os.environ.get("HYPE_BENCH_DATA") else "generated sentences"
    return f"""# A sweep of {sizes.runs} runs, from start to table

`make bench-sweep`: MiniLM-L6 on {data}, {sizes.examples:,} examples, {sizes.epochs:g} epochs; {", ".join(METHODS)},
{sizes.seeds} seeds each; {machine}. `one process` makes the runs one after another with all threads,
`joblib` in a process with one thread a core. `script` is one start of the usual GLUE script for each run
(`scripts/usual_glue.py`: `transformers.Trainer`, padding to 128 or to the longest of a batch): a plain run, also where
the sweep has r_drop, whose two passes make the sweep as much arithmetic as {5 * sizes.runs // 4} plain runs. Of the
{sizes.runs} starts with either padding {sizes.starts} were made, in turns with the sweeps; seconds are those of all.
Every arm scores the development set once, and has the same `GOMP_SPINCOUNT`. Seconds of CPU say more than those of the
clock where other programs ran beside.

"""


if __name__ == "__main__":
    main()
