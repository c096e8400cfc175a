"""Fills the README's marked regions with figures from ``results/`` and names from the code.

make docs      after a result, a measured time or a technique has changed; a test compares
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from hype_bench.contract.registry import cards

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
_TASKS = {"stsb": "STS-B", "cola": "CoLA", "mrpc": "MRPC", "rte": "RTE"}
_METRICS = {"pearson_spearman": "Pearson-Spearman", "matthews": "Matthews", "f1": "F1", "accuracy": "accuracy"}


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
    """The largest comparison whose results are in the repository, and what it says of HyPe."""
    cells = pd.read_csv(ROOT / "results" / "minilm" / "low_resource.csv")
    cells = cells[cells.task.isin(_TASKS)]
    mean = 100 * cells.pivot(index="method", columns="task", values="mean_fraction")[[*_TASKS]]
    std = 100 * cells.pivot(index="method", columns="task", values="std_fraction")
    metric = cells.drop_duplicates("task").set_index("task").metric
    (seeds,) = cells.n.unique()
    heads = [f"{title} ({_METRICS[metric[task]]})" for task, title in _TASKS.items()]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for method in cells.method.unique():
        shown = [f"{mean[task][method]:.2f} ± {std[task][method]:.2f}" for task in _TASKS]
        lines.append(f"| `{method}` | {' | '.join(shown)} |")
    above = mean.loc["hype_n"] - mean.loc["vanilla"]
    best = _TASKS[str(above.idxmax())]
    apart = (mean.loc["hype_n"] - mean.loc["no_dropout"]).abs().max()
    return "\n".join([
        f"MiniLM-L6, 1,000 training examples per task, published defaults, {seeds} seeds: HyPe-N is {above.max():.2f} "
        f"points above vanilla on {best}, but at most {apart:.1g} points from `no_dropout` on any "
        "task. What looks like a gain of the noise is the dropout that HyPe is published without. (With so few seeds, "
        f"no permutation test over seeds falls below p = {2 / 2**seeds:g}.) Mean ± std over seeds, x 100; "
        "[results/minilm](results/minilm/README.md) has intervals and tests:",
        "",
        *lines,
    ])  # fmt: skip


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
    (means,) = re.findall(r"^\| geometric mean (.*)$", text, re.MULTILINE)
    longest, full, *_ = re.findall(r"\d+\.\d+", means)
    return (
        "One batch is one packed row without padding, which a test holds equal to padding. MiniLM on two CPU threads "
        f"is {longest} times as fast as a `transformers.Trainer` that pads to the longest of a batch, {full} times as "
        "fast as one that pads to 128 tokens ([measured](results/bench/update_time.md) by `make bench`)."
    )


if __name__ == "__main__":
    main()
