"""Writes what of the documentation follows from the code: ``docs/reference/`` and ``docs/tables/``.

make docs      after a verb, a key of the configuration or an experiment has changed; a test compares
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING as REQUIRED
from typer.main import get_command
from typer.testing import CliRunner

from hype_bench.cli import app
from hype_bench.config import CONF, Config
from hype_bench.options import Affects, in_words
from hype_bench.paper import published
from hype_bench.sweeps.grids import expand, write

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCOPES = ("paper", "small", "smoke")
_RUN = """\
Fine-tunes: one run, or with `-m` a sweep. Its words are `group=choice` and `key=value`, each a single value or,
with `-m`, several with commas between them; [configuration](configuration.md) lists
them, as does `hype-bench run --help`.

```
hype-bench run model=minilm task=demo_rte                     # one run
hype-bench run method=hype_n task=rte -m seed=1,2,3           # a sweep, then its table
hype-bench run -m 'method=hype_u,[hype_n,r_drop]' seed=1,2,3  # [a,b]: two techniques together
hype-bench run -m experiment=table1 scope=smoke               # an experiment
```"""
_EFFECTS = {
    Affects.NUMBERS: "scores",
    Affects.ROUNDING: "last digits of scores",
    Affects.ROWS: "rows of the data",
    Affects.LENGTH: "number of updates",
    Affects.PACE: "time per update",
}
_COMMENT = re.compile(r"^(\s*)(\w+):(?:\s+[^#]*?)?\s*(?:#\s*(.*))?$")


def main() -> None:
    for old in (DOCS / "tables").glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name below ``docs/`` -> Markdown."""
    experiments = {path.stem: path for path in sorted((CONF / "experiment").glob("*.yaml"), key=_by_number)}
    experiments = {name: path for name, path in experiments.items() if _load(path).get("grids")}
    return {
        "reference/commands.md": commands(),
        "reference/configuration.md": configuration(),
        "tables/index.md": overview(experiments),
        **{f"tables/{name}.md": experiment(name, path) for name, path in experiments.items()},
    }


def commands() -> str:
    """Every verb with what its ``--help`` prints."""
    parts = ["# Commands", "Written by `make docs`. `python -m hype_bench` is the same program as `hype-bench`."]
    parts.append(_block(_help()))
    for verb in get_command(app).list_commands(None):  # type: ignore[attr-defined]
        parts.append(f"## {verb}")
        parts.append(_RUN if verb == "run" else _block(_help(verb)))
    return "\n\n".join(parts) + "\n"


def _help(*verb: str) -> str:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [*verb, "--help"], prog_name="hype-bench").output.rstrip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def configuration() -> str:
    """Every group with its choices, and every key with type, default, limits and meaning."""
    top = [f for f in fields(Config) if not is_dataclass(_type(f))]
    groups = [f for f in fields(Config) if is_dataclass(_type(f))]
    comments = _comments(CONF / "config.yaml")
    parts = [
        "# Configuration",
        "Written by `make docs` from `hype_bench/schema.py` and `conf/`. A group is chosen as `model=minilm`, a key is "
        "set as `training.epochs=5`; with `-m` either takes several values, separated by commas. `null` under "
        "`training` means: what the recipe says for this model family and task. What affects scores, or "
        "their last digits, is part of a run's identity. `method` takes one of the "
        "[techniques](../methods/README.md) or several, as in `method=[hype_n,r_drop]`; their options are set as "
        "`method.hype_n.scale=1e-4`.",
        "## Top level",
        _keys("", top, comments),
        "## analysis",
        "What is measured of a run; it has a record of its own beside the run's. Its options are set as "
        "`analysis.transfer.mapping=argmax`; [analyses](../analyses/README.md) describes them.",
        _choices("analysis", sorted((CONF / "analysis").glob("*.yaml"))),
    ]
    for group in groups:
        parts.append(f"## {group.name}")
        meaning = comments
        if (CONF / group.name).is_dir():
            paths = sorted((CONF / group.name).glob("*.yaml"), key=_by_number)
            parts.append(_choices(group.name, paths))
            meaning = {key: text for path in paths for key, text in _comments(path, group.name).items() if text}
        parts.append(_keys(f"{group.name}.", list(fields(_type(group))), meaning))
    return "\n\n".join(parts) + "\n"


def _keys(prefix: str, keys: list[Field[Any]], comments: dict[str, str]) -> str:
    has_effects = prefix in ("training.", "data.")
    heads = ["key", "type", "default", *(["affects"] if has_effects else []), "meaning"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key in keys:
        if key.name in ("method", "analysis"):  # their options are those of what is chosen
            continue
        effects = [", ".join(_EFFECTS[effect] for effect in key.metadata.get("affects", Affects.NUMBERS))]
        cells = [f"`{prefix}{key.name}`", _kind(key), _value(key), *(effects if has_effects else [])]
        lines.append(f"| {' | '.join(map(_escaped, [*cells, comments[prefix + key.name]]))} |")
    return "\n".join(lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;")


def _comments(path: Path, prefix: str = "") -> dict[str, str]:
    """``training.epochs`` -> the comment on its line; of keys on the first two levels."""
    comments: dict[str, str] = {}
    section = prefix
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _COMMENT.match(line)
        if match and len(match[1]) == 0:
            section = f"{prefix}.{match[2]}" if prefix else match[2]
            comments[section] = match[3] or ""
        elif match and len(match[1]) == 2:
            comments[f"{section}.{match[2]}"] = match[3] or ""
    return comments


def _choices(group: str, paths: list[Path]) -> str:
    """What may stand behind ``group=``, each with what its file says of it first."""
    lines = [f"| `{group}=` | |", "|---|---|"]
    lines += [f"| `{path.stem}` | {_about(group, path)} |" for path in paths if path.stem != "default"]
    return "\n".join(lines)


def _about(group: str, path: Path) -> str:
    content = _load(path)
    if group == "task":
        source = content.get("source") or {}
        where = "/".join(part for part in (source.get("hub"), source.get("config")) if part)
        return f"{where or ('generated' if content.get('generated') else 'your own files')}, {content['metric']}"
    if group == "model":
        return f"{content['checkpoint']}, recipe of {content['family']}"
    if group == "experiment":
        return f"[{content['title']}](../tables/{path.stem}.md)"
    return _opening(path) or content["name"]


def _opening(path: Path) -> str:
    """The comment with which a file begins, without the command in it and the package directive."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not re.match(r"# (@package|python run\.py)|#   ", line):
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _type(field: Field[Any]) -> Any:
    default = field.default_factory
    return default if default is not MISSING else None


def _kind(field: Field[Any]) -> str:
    """Type and limits, or the values it may have."""
    if choices := field.metadata.get("choices"):
        return ", ".join(f"`{choice}`" for choice in choices if choice is not None)
    kind = re.sub(r"\w+Config\b", "mapping", str(field.type)).replace("dict[str, Any]", "mapping")
    return kind.removesuffix(" | None") + (f", {in_words(limits)}" if (limits := field.metadata.get("limits")) else "")


def _value(field: Field[Any]) -> str:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    if is_dataclass(default):
        return f"`{{{', '.join(f'{key}: {write(value)}' for key, value in vars(default).items())}}}`"
    return "given by the choice" if default in (REQUIRED, MISSING) else f"`{write(default) if default != {} else '{}'}`"


def overview(experiments: dict[str, Path]) -> str:
    lines = [
        "| experiment | | table of the paper | runs | `scope=small` | `scope=smoke` |",
        "|---|---|---|---|---|---|",
    ]
    for name, path in experiments.items():
        content = _load(path)
        counts = " | ".join(f"{_runs(content, scope):,}" for scope in SCOPES)
        lines.append(f"| [`{name}`]({name}.md) | {content['title']} | {content.get('table') or ''} | {counts} |")
    return "\n\n".join([
        "# Tables",
        "An experiment is a union of grids that gives a table: those of the HyPe paper with the controls that it "
        "lacks, and a few of this project's own. `make tables scope=smoke` fills every table of the paper in "
        "minutes, to show that it works; [writing one](../experiments.md) takes a YAML file.",
        "\n".join(lines),
    ]) + "\n"  # fmt: skip


def experiment(name: str, path: Path) -> str:
    """What one experiment asks, its axes, its commands and how many runs it costs."""
    content = _load(path)
    number = content.get("table")
    parts = [f"# {name}: {content['title']}", _opening(path)]
    commands = [
        f"hype-bench plan experiment={name}               # what is done, what is to do, what it will cost",
        f"hype-bench run experiment={name} -m             # also scope=small, scope=smoke",
        f"hype-bench table {name} --compare {'paper' if number else 'vanilla'}",
    ]
    parts += ["```\n" + "\n".join(commands) + "\n```", "## Grids", "\n".join(_grids(content))]
    if search := content.get("search"):
        parts.append(f"The table takes the best over {', '.join(f'`{axis}`' for axis in search)}, by `--rule`.")
    if number:
        parts += [
            f"## Table {number} of the paper",
            "As printed: mean ± std over seeds, with n in the denominator of the std.",
            *_printed(number),
        ]
    counts = [f"{_runs(content, scope):,} with `scope={scope}`" for scope in SCOPES]
    parts += ["## Cost", f"Runs: {', '.join(counts)}. `hype-bench plan` estimates hours from runs that are done."]
    return "\n\n".join(filter(None, parts)) + "\n"


def _grids(content: dict[str, Any]) -> Iterator[str]:
    yield from ("| grid | axis | values |", "|---|---|---|")
    parts = {"all": content["shared"]} | {str(place): grid for place, grid in enumerate(content["grids"], 1)}
    for label, axes in parts.items():
        for axis, values in axes.items():
            shown = values if isinstance(values, list) else [values]
            yield f"| {label} | `{axis}` | {', '.join(f'`{write(value)}`' for value in shown)} |"


def _printed(number: int) -> Iterator[str]:
    """The published table, a block after the other, and what is known to be wrong in it."""
    cells = published.table(number)
    for block in dict.fromkeys(cell.block for cell in cells):
        own = {(cell.row, cell.column): cell for cell in cells if cell.block == block}
        columns = list(dict.fromkeys(column for _, column in own))
        lines = [f"| {block or ''} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for row in dict.fromkeys(row for row, _ in own):
            shown = (_number(own.get((row, column))) for column in columns)
            lines.append(f"| {row} | {' | '.join(shown)} |".replace("*", r"\*"))
        yield "\n".join(lines)
    notes = [f"- {', '.join(filter(None, (c.block, c.row, c.column)))}: {c.note}" for c in cells if c.note]
    yield "\n".join(notes).replace("*", r"\*")


def _number(cell: published.Published | None) -> str:
    if cell is None:
        return ""
    return f"{cell.mean:.2f}" + (f" ± {cell.std:.2f}" if cell.std is not None else "")


def _runs(content: dict[str, Any], scope: str) -> int:
    narrowed = {"axes": {}, **_load(CONF / "scope" / f"{scope}.yaml")}
    return len({frozenset(point.values) for point in expand(content, narrowed, {})})


def _load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def _by_number(path: Path) -> tuple[str, int]:
    """``table2`` before ``table12``."""
    digits = re.search(r"\d+$", path.stem)
    return path.stem.rstrip("0123456789"), int(digits[0]) if digits else 0


if __name__ == "__main__":
    main()
