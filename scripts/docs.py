"""Writes ``docs/methods/`` and the README's table of techniques from the cards in ``hype_bench/methods``.

make docs      after a card, an option or a measured cost has changed; a test holds the pages to the cards
"""

from __future__ import annotations

import csv
import inspect
import re
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

from hype_bench.contract.card import Card
from hype_bench.contract.method import Method
from hype_bench.contract.registry import cards, discover
from hype_bench.options import in_words

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "methods"
README = ROOT / "README.md"
COSTS = ROOT / "results" / "bench" / "methods.csv"
MARKS = ("<!-- techniques: make docs -->", "<!-- end of techniques -->")


def main() -> None:
    PAGES.mkdir(parents=True, exist_ok=True)
    for old in PAGES.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")


def pages() -> dict[str, str]:
    """File name -> Markdown: one page a class, and an overview."""
    named: dict[type[Method], list[str]] = defaultdict(list)
    for name, (cls, _) in discover().items():
        named[cls].append(name)
    found = {f"{names[0]}.md": page(names, cls.card, cls) for cls, names in named.items()}
    found |= {f"{name}.md": page([name], card) for name, card in cards().items() if name not in discover()}
    overview = "# Techniques\n\nMade from the cards in `hype_bench/methods` by `make docs`.\n\n" + table("") + "\n"
    return {"README.md": overview, **dict(sorted(found.items()))}


def page_of(name: str) -> str:
    """The page on which a name stands; names of one class share the first one's."""
    cls = discover()[name][0] if name in discover() else None
    return next((other for other, (c, _) in discover().items() if c is cls), name) + ".md"


def page(names: list[str], card: Card, cls: type[Method] | None = None) -> str:
    parts = [f"# {card.title}", f"{card.summary[0].upper()}{card.summary[1:]}.", f"$$\n{card.equation}\n$$"]
    if cls is not None:
        parts += ["    " + "\n    ".join(f"python run.py method={name}" for name in names), options(cls)]
    parts += [f"**Published as.** {card.citation}", f"**Code and paper.** {card.differences}"]
    parts += [f"**Cost.** {card.cost[0].upper()}{card.cost[1:]}.{measured(names)}", f"**When it helps.** {card.helps}"]
    return "\n\n".join([*parts, *(together(cls) if cls else [])]) + "\n"


def options(cls: type[Method]) -> str:
    """A table of the options of a class, explained as its docstring explains them."""
    fixed = {key for other, values in discover().values() if other is cls for key in values}
    free = [f for f in fields(cls) if f.name not in fixed]  # type: ignore[arg-type]
    if not free:
        return "It has no options."
    meaning = explained(cls)
    rows = [f"| `{f.name}` | `{written(f.default)}` | {limits(f.metadata)} | {meaning[f.name]} |" for f in free]
    return "\n".join(["| option | default | may be | |", "|---|---|---|---|", *rows])


def explained(cls: type[Any]) -> dict[str, str]:
    """Option -> what the docstring's ``Args`` say of it."""
    lines = inspect.cleandoc(cls.__doc__ or "").partition("Args:\n")[2].splitlines()
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if start := re.match(r"    (\w+(?:, \w+)*): (.*)", line):
            entries.append((start[1], [start[2]]))
        elif line.startswith("     ") and entries:
            entries[-1][1].append(line.strip())
        elif line.strip():
            break
    return {name: markdown(" ".join(text)) for names, text in entries for name in names.split(", ")}


def markdown(text: str) -> str:
    """reStructuredText of a docstring as Markdown for a cell."""
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text.replace("``", "`")).replace("|", r"\|")


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
    found = []
    if decided := sorted(cls().decides):
        found.append(
            f"**Together with others.** It decides on {' and '.join(decided)}: whatever decides on that too is refused."
        )
    if cls.neutral:
        off = ", ".join(f"`{key}={written(value)}`" for key, value in cls.neutral.items())
        found.append(f"With {off} it is vanilla, bit for bit.")
    return found


def measured(names: list[str]) -> str:
    """Update time and memory relative to vanilla, as ``make bench-methods`` last found them."""
    rows = costs()
    said = [f"`{name}` {rows[name]['time']} x the time of vanilla" for name in names if name in rows]
    return f" Measured: {', '.join(said)} (MiniLM, CPU; results/bench/methods.md)." if said else ""


def costs() -> dict[str, dict[str, str]]:
    if not COSTS.is_file():
        return {}
    with COSTS.open(encoding="utf-8", newline="") as stream:
        return {row["method"]: row for row in csv.DictReader(stream)}


def table(folder: str) -> str:
    """Every technique with a link to its page and its measured update time."""
    found = costs()
    lines = ["| technique | what it does | time |", "|---|---|---|"]
    for name, card in cards().items():
        time = f"{found[name]['time']} x" if name in found else ""
        lines.append(f"| [`{name}`]({folder}{page_of(name)}) | {card.summary} | {time} |")
    return "\n".join(lines)


def with_table(readme: str) -> str:
    before, rest = readme.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n{table('docs/methods/')}\n{MARKS[1]}{after}"


if __name__ == "__main__":
    main()
