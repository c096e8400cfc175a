"""Sheets in text, Markdown, LaTeX and HTML.

tabulate lays out text and Markdown, pandas' Styler LaTeX and HTML. Our own are the alignment at the decimal point
(neither aligns ``72.00 ± 4.00 (3)``), the escaping (tabulate's of Markdown leaves ``|`` and tags, Styler's of LaTeX
``<``, and of captions all), the notes and the frame of a page. great_tables was tried too: its HTML has 10 kB of styles
under a random id, its LaTeX no label.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING

from hype_bench.output import inert
from hype_bench.render.sheet import Sheet

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

NO_RUNS = "no runs yet"
_BOLD = "bold: the highest mean of a column (not a test)"
_WIDTH = 110  # of the lines under a text table

_Writer = Callable[[Sequence[Sheet], str], str]


def _escaping(write: _Writer) -> _Writer:
    """Names come from files and command lines, and none may act in a page or a terminal."""

    @wraps(write)
    def write_inert(sheets: Sequence[Sheet], caption: str) -> str:
        return write([_inert(sheet) for sheet in sheets], inert(caption))

    return write_inert


def _inert(sheet: Sheet) -> Sheet:
    return replace(
        sheet,
        title=inert(sheet.title),
        columns=[(inert(name), inert(unit)) for name, unit in sheet.columns],
        rows=[
            (inert(title), [(inert(mean), inert(spread), inert(count)) for mean, spread, count in cells])
            for title, cells in sheet.rows
        ],
        notes=[inert(note) for note in sheet.notes],
        kind=inert(sheet.kind),
    )


@_escaping
def to_text(sheets: Sequence[Sheet], caption: str) -> str:
    """Columns are aligned at the decimal point, at the ± and at the bracket."""
    blocks = []
    for sheet in sheets:
        units = any(unit for _, unit in sheet.columns)
        headers = ["\n".join(names if units else names[:1]) for names in sheet.columns]
        corner = f"\n{sheet.corner}" if units else sheet.corner
        title = f"{sheet.kind}: {sheet.title}" if sheet.kind else sheet.title
        grid = _grid([corner, *headers], sheet.aligned(), "simple")
        blocks.append("\n".join([title, grid, "", *map(wrapped, sheet.notes)]).rstrip())
    return "\n\n".join(filter(None, [*blocks, wrapped(caption)])) if blocks else NO_RUNS


@_escaping
def to_markdown(sheets: Sequence[Sheet], caption: str) -> str:
    blocks = []
    for sheet in sheets:
        headers, *body = (list(map(_md, line)) for line in ([sheet.corner, *sheet.headers], *sheet.aligned()))
        notes = [f"- {_md(note)}" for note in sheet.notes]
        grid = _grid(headers, body, "github")
        blocks.append("\n".join([f"**{_md(sheet.heading)}**", "", grid, "", *notes]).rstrip())
    return "\n\n".join([*blocks, *([f"*{_md(caption)}*"] if caption else [])]) if blocks else NO_RUNS


@_escaping
def to_latex(sheets: Sequence[Sheet], caption: str) -> str:
    """A ``table`` per sheet with its notes below, no wider than the page."""
    blocks = ["% needs \\usepackage{booktabs,graphicx}" if sheets else f"% {NO_RUNS}"]
    for sheet in sheets:
        text = _styler(sheet, sheet.plain(), _tex, r"\textbf{%s}").to_latex(
            hrules=True,
            position="t",
            position_float="centering",
            column_format=f"l{'c' * len(sheet.columns)}",
            caption=_tex(f"{sheet.heading}. {_with_legend(caption, [sheet])}"),
            label=f"tab:{re.sub('[^a-z0-9]+', '-', sheet.heading.lower()).strip('-')}",
        )
        notes = "".join(f"\n{{\\footnotesize {_tex(note)}\\par}}" for note in sheet.notes)
        text = text.replace("\\begin{tabular}", f"{_FIT}{{%\n\\begin{{tabular}}", 1)
        blocks.append(text.replace("\\end{tabular}", f"\\end{{tabular}}}}\n{notes}", 1).rstrip())
    return "\n\n".join(blocks)


@_escaping
def to_html(sheets: Sequence[Sheet], caption: str) -> str:
    """A page of its own: no script, no style sheet from elsewhere."""
    blocks = []
    for sheet in sheets:
        table = _styler(sheet, sheet.aligned(), _html, "<strong>%s</strong>").to_html(exclude_styles=True)
        notes = "".join(f"<li>{_html(note)}</li>" for note in sheet.notes)
        blocks.append(f"<h2>{_html(sheet.heading)}</h2>\n{table}" + (f"<ul>{notes}</ul>" if notes else ""))
    title = ", ".join(dict.fromkeys(sheet.title for sheet in sheets)) or NO_RUNS
    foot = _with_legend(caption, sheets) if sheets else NO_RUNS
    return "\n".join([_PAGE.format(title=_html(title)), *blocks, f"<p><em>{_html(foot)}</em></p>", "</html>"])


WRITERS: dict[str, _Writer] = {"text": to_text, "markdown": to_markdown, "latex": to_latex, "html": to_html}


def wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _grid(headers: list[str], body: list[list[str]], form: str) -> str:
    from tabulate import tabulate

    text = tabulate(body, headers, form, disable_numparse=True, stralign="left", preserve_whitespace=True)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _styler(sheet: Sheet, body: list[list[str]], escape: Callable[[str], str], bold: str) -> Styler:
    """Styler escapes not all that may act, so it gets its words escaped."""
    import pandas as pd

    rows = [
        [bold % escape(word) if (y, x) in sheet.best else escape(word) for x, word in enumerate(line, -1)]
        for y, line in enumerate(body)
    ]
    return pd.DataFrame(rows, columns=list(map(escape, [sheet.corner, *sheet.headers]))).style.hide(axis="index")


def _with_legend(caption: str, sheets: Sequence[Sheet]) -> str:
    return "; ".join(filter(None, [caption, _BOLD if any(sheet.best for sheet in sheets) else ""]))


def _html(text: str) -> str:
    return html.escape(text, quote=False)


def _md(text: str) -> str:
    """No tag of HTML, no link or picture, no end of a cell."""
    return _html(text).replace("](", "]\\(").replace("|", "\\|")


_TEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "_%&#$"},
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
    }
)


def _tex(text: str) -> str:
    """At the beginning of a line, ``\\\\`` of the line before would take a bracket or a star for its option."""
    return re.sub(r"^(?=[\[*])", "{}", text.translate(_TEX))


_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"  # shrinks what is wider than the page

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title} - hype_bench</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid }}
th, td {{ padding: .25rem .9rem; text-align: left; white-space: pre }}
thead {{ border-bottom: 1px solid }}
td + td {{ font: 14px ui-monospace, monospace }}
ul {{ color: #555; padding-left: 1.2rem }}
</style>"""
