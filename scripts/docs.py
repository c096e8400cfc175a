"""Writes ``docs/methods/`` and ``docs/analyses/`` from the docstrings in ``hype_bench``.

make docs      after a docstring, an option or a measured cost has changed; a test compares
"""

from __future__ import annotations

import csv
import inspect
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from hype_bench.analysis.registry import Measurement, Verb, analyses
from hype_bench.contract import registry
from hype_bench.contract.card import Card
from hype_bench.contract.method import Method
from hype_bench.contract.registry import discover
from hype_bench.options import in_words
from hype_bench.saving import no_plain_model

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ANALYSES = """\
# Analyses

Made from the docstrings in `hype_bench/analysis` by `make docs`. What measures a run is a choice of the group
`analysis`: it goes through sweeps, plans, engines and tables as a run does, trains the run where it has no weights, and
has a record of its own, which tables show as the task `<task>.<analysis>`. What edits finished runs, or reads several,
is a command."""
COSTS = ROOT / "results" / "bench" / "methods.csv"


def cards() -> dict[str, Card]:
    """Of our own techniques; those of an installed plug-in are described by ``hype-bench methods NAME``."""
    foreign = {name for name, (cls, _) in discover().items() if not cls.__module__.startswith("hype_bench.")}
    return {name: card for name, card in registry.cards().items() if name not in foreign}


def main() -> None:
    for folder, written_pages in (("methods", pages()), ("analyses", analysis_pages())):
        (DOCS / folder).mkdir(parents=True, exist_ok=True)
        for old in (DOCS / folder).glob("*.md"):
            old.unlink()
        for name, text in written_pages.items():
            (DOCS / folder / name).write_text(text, encoding="utf-8")


def analysis_pages() -> dict[str, str]:
    """File name -> Markdown: one page per analysis, and an overview."""
    own = {name: entry for name, entry in analyses().items() if entry.plugin is None}
    lines = ["| analysis | what it does | how |", "|---|---|---|"]
    for name, entry in own.items():
        how = f"`analysis={name}`" if isinstance(entry, Measurement) else f"`hype-bench {name}`"
        lines.append(f"| [`{name}`]({name}.md) | {entry.docstring().partition(chr(10))[0]} | {how} |")
    return {
        "README.md": f"{ANALYSES}\n\n" + "\n".join(lines) + "\n",
        **{f"{name}.md": analysis_page(name, entry) for name, entry in own.items()},
    }


def analysis_page(name: str, entry: Verb) -> str:
    """What the docstring of an analysis says, and how it is called."""
    parts = inspect.cleandoc(entry.docstring()).split("\n\n")
    arguments = next((part for part in parts if part.startswith("Args:\n")), "")
    first, *paragraphs = (" ".join(part.split()) for part in parts if part != arguments)
    shown = [re.sub(r"^(Claim|Source|Cost): ", r"**\1:** ", paragraph).replace("``", "`") for paragraph in paragraphs]
    if not isinstance(entry, Measurement):
        usage = [f"    hype-bench {name} --help"]
    else:
        usage = [f"    python run.py analysis={name} method=vanilla,hype_n seed=1,2,3 -m"]
        meanings = dict(re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", arguments, re.MULTILINE))
        options = {option: " ".join(meaning.split()) for option, meaning in meanings.items()}
        usage += ["## Options", option_table(fields(entry.load()), options)]  # type: ignore[arg-type]
    return "\n\n".join([f"# {name}", first, *usage[:1], *shown, *usage[1:]]) + "\n"


def pages() -> dict[str, str]:
    """File name -> Markdown: one page per class, and an overview."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in cards():
        names[page_of(name)].append(name)
    intro = "# Techniques\n\nMade from the docstrings in `hype_bench/methods` by `make docs`.\n\n"
    return {"README.md": intro + table() + "\n", **{file: page(group) for file, group in sorted(names.items())}}


def page_of(name: str) -> str:
    """The page of a technique; the names of one class share the first one's."""
    cls = discover()[name][0] if name in discover() else None
    return next((other for other, (c, _) in discover().items() if c is cls), name) + ".md"


def page(names: list[str]) -> str:
    """The page of the techniques of one class, or of a soup."""
    card = cards()[names[0]]
    cls = discover()[names[0]][0] if names[0] in discover() else None
    cost = " ".join([card.cost, *measured(names)])
    left = left_behind(names, cls) if cls else ""
    parts = [f"# {card.title}", f"{sentence(card.summary)}.", card.text, left, f"$$\n{card.equation}\n$$"]
    if cls is not None:
        parts += [
            "    " + "\n    ".join(f"python run.py method={name}" for name in names),
            "## Options",
            options(cls, card),
        ]
    parts += ["## Reference", card.reference, "## Differences", card.differences]
    parts += ["## Cost", cost, *([] if names == ["vanilla"] else ["## Control", controls(card)])]
    parts += ["## When it helps", card.helps, *(together(cls) if cls else [])]
    return "\n\n".join(filter(None, parts)) + "\n"


def left_behind(names: list[str], cls: type[Method]) -> str:
    """What a user should know of a technique that leaves no plain model."""
    return f"`{names[0]}` {no_plain_model(cls.unmerged)}: `training.save=last` is refused." if cls.unmerged else ""


def controls(card: Card) -> str:
    """With what it is compared to see where a gain comes from."""
    others = [f"`{control.title}`, which shares {phrase}" for control, phrase in card.controls.items()]
    return f"`hype-bench answer` compares it with {' and with '.join(['`vanilla`', *others])}."


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def options(cls: type[Method], card: Card) -> str:
    """A table of the options of a class."""
    fixed = {key for other, values in discover().values() if other is cls for key in values}
    free = [f for f in fields(cls) if f.name not in fixed]  # type: ignore[arg-type]
    return option_table(free, card.options)


def option_table(options: Sequence[Field[Any]], meanings: Mapping[str, str]) -> str:
    if not options:
        return "None."
    lines = ["| option | type | default | range | meaning |", "|---|---|---|---|---|"]
    for f in options:
        cells = [f"`{f.name}`", str(f.type), f"`{written(f.default)}`", limits(f.metadata), meanings[f.name]]
        lines.append("| " + " | ".join(text.replace("|", r"\|") for text in cells) + " |")
    return "\n".join(lines)


def written(value: object) -> str:
    """A default as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def limits(metadata: Any) -> str:
    if choices := metadata.get("choices"):
        return ", ".join(f"`{name}`" for name in choices)
    return in_words(metadata["limits"]) if metadata.get("limits") else ""


def together(cls: type[Method]) -> list[str]:
    """What its place among others changes, what it cannot be combined with, the options with which it does nothing."""
    parts = []
    if acts_on := [part.name.lower().replace("_", " ") for part in sorted(cls().acts_on)]:
        parts.append(f"Its order matters beside techniques that act on the same parts of a run: {', '.join(acts_on)}.")
    if decided := sorted(what.value for what in cls().exclusive):
        parts.append(f"It decides on {' and '.join(decided)}; a second technique that does so is refused.")
    if cls.neutral:
        off = ", ".join(f"`{key}={written(value)}`" for key, value in cls.neutral.items())
        parts.append(f"With {off} it is vanilla, bit for bit.")
    return ["## With other techniques", *parts] if parts else []


def measured(names: list[str]) -> list[str]:
    """Update time relative to vanilla, as ``make bench-methods`` last measured it."""
    times = [f"{costs()[name]['time']} x the time of vanilla (`{name}`)" for name in names if name in costs()]
    return [f"Measured: {', '.join(times)}, MiniLM on a CPU (results/bench/methods.md)."] if times else []


def costs() -> dict[str, dict[str, str]]:
    if not COSTS.is_file():
        return {}
    with COSTS.open(encoding="utf-8", newline="") as stream:
        return {row["method"]: row for row in csv.DictReader(stream)}


def table() -> str:
    """Every technique with a link to its page and its measured update time."""
    times = costs()
    lines = ["| technique | what it does | time |", "|---|---|---|"]
    for name, card in cards().items():
        time = f"{times[name]['time']} x" if name in times else ""
        lines.append(f"| [`{name}`]({page_of(name)}) | {card.summary} | {time} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
