"""What ``mkdocs.yml`` asks of MkDocs beyond its options: equations without JavaScript, folders in the navigation."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_ROLE = re.compile(r":(?:func|class|meth|attr|data|mod|exc):(?=<code)")  # Sphinx's, in docstrings
_SIM = "<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"  # latex2mathml writes \sim as a tilde


def on_config(config: Any) -> Any:
    """Replaces a navigation entry that ends in ``/`` by the pages of that folder, without its index."""
    docs = Path(config.docs_dir)
    for section in config.nav:
        for name, entries in section.items():
            if isinstance(entries, list):
                section[name] = [page for entry in entries for page in _pages(docs, entry)]
    return config


def _pages(docs: Path, entry: Any) -> list[Any]:
    if not (isinstance(entry, str) and entry.endswith("/")):
        return [entry]
    names = sorted((path.name for path in (docs / entry).glob("*.md")), key=_by_number)
    return [entry + name for name in names if name not in ("README.md", "index.md")]


def _by_number(name: str) -> list[str | int]:
    """``table2`` before ``table12``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def on_page_content(content: str, **_: Any) -> str:
    """Equations as MathML, which browsers show by themselves; names in docstrings without Sphinx's roles."""
    return _ROLE.sub("", _EQUATION.sub(_mathml, content))


def _mathml(match: re.Match[str]) -> str:
    display = "block" if match[1] == "div" else "inline"
    return str(convert(html.unescape(match[2]).strip(), display=display)).replace(*_SIM)
