"""Fills the README's marked regions with figures from ``results/`` and names from the code.

make docs      after a result, a measured time or a technique has changed; a test compares
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from hype_bench.contract.registry import cards

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
_TASKS = {"stsb": "STS-B", "cola": "CoLA", "mrpc": "MRPC", "rte": "RTE"}


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


def filled(readme: str) -> str:
    """The README with every region ``<!-- name: make docs --> ... <!-- end -->`` as it is today."""
    for name, write in {"answer": answer, "techniques": techniques, "speed": speed}.items():
        before, start, rest = readme.partition(f"<!-- {name}: make docs -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"README.md has no region {name}"
        readme = f"{before}{start}{write()}\n{end}{after}"
    return readme


def answer() -> str:
    """What ``hype-bench answer`` says of the largest comparison whose answer is in the repository."""
    stored = json.loads((ROOT / "results" / "minilm" / "answer.json").read_text(encoding="utf-8"))
    answers = stored["answers"]
    tasks = sorted(answers[0]["tasks"])
    seeds = min(one["seeds"] for one in answers)
    rows = [
        f"| `{one['method']}` against `{one['control']}` | {_verdict(one)} | "
        + " | ".join(_verdict(one["tasks"][task]) if task in one["tasks"] else "" for task in tasks)
        + " |"
        for one in answers
    ]
    return "\n".join([
        f"MiniLM-L6, 1,000 training examples per task, published defaults, {seeds} seeds, on a margin of "
        f"{100 * stored['margin_fraction']:g} points:",
        "",
        *(f"- {sentence}." for sentence in stored["sentences"]),
        "",
        f"| | over tasks | {' | '.join(_TASKS[task] for task in tasks)} |",
        "|---" * (len(tasks) + 2) + "|",
        *rows,
        "",
        "Differences in points with 95 % intervals over seeds and examples at once. "
        "[results/minilm](results/minilm/README.md) has the command, all that was computed and the pictures; "
        "[statistics](docs/statistics.md) says what the four words rest on.",
    ])  # fmt: skip


def _verdict(one: dict[str, Any]) -> str:
    low, high = (_points(one[f"difference_{end}_fraction"]) for end in ("low", "high"))
    word = f"**{one['verdict']}**" if one["verdict"] in ("helps", "hurts") else one["verdict"]
    return f"{word} {_points(one['difference_fraction']):+.1f} [{low:+.1f}, {high:+.1f}]"


def _points(fraction: float) -> float:
    return round(100 * fraction, 1) + 0.0  # no minus before a zero


def techniques() -> str:
    """How many there are, their names, and the range of what they cost."""
    times = pd.read_csv(ROOT / "results" / "bench" / "methods.csv").set_index("method").time
    names = " ".join(f"`{name}`" for name in cards())
    return (
        f"[{len(cards())} of them](docs/methods/README.md): {names}. An update takes from {times.min():.2f} "
        f"(`{times.idxmin()}`) to {times.max():.2f} (`{times.idxmax()}`) times as long as vanilla's."
    )


def speed() -> str:
    """How much faster an update is than in the Trainer: the means of ``make bench``."""
    text = (ROOT / "results" / "bench" / "update_time.md").read_text(encoding="utf-8")
    means, *_of_cpu = re.findall(r"^\| geometric mean (.*)$", text, re.MULTILINE)
    longest, full, *_ = re.findall(r"\d+\.\d+", means)
    return (
        "One batch is one packed row without padding, which a test holds equal to padding. MiniLM on two CPU threads "
        f"is {longest} times as fast as a `transformers.Trainer` that pads to the longest of a batch, {full} times as "
        "fast as one that pads to 128 tokens ([measured](results/bench/update_time.md) by `make bench`)."
    )


if __name__ == "__main__":
    main()
