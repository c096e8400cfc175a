"""How sheets are written: text for a terminal, Markdown, LaTeX (booktabs), HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps

from hype_bench.output import inert
from hype_bench.render.sheet import Sheet

NOTHING = "no runs yet"
_WIDTH = 110  # of the lines under a text table

_Writer = Callable[[Sequence[Sheet], str], str]


def _of_inert_words(write: _Writer) -> _Writer:
    """What every format is made of: names come from files and command lines, and none may act in a page or terminal."""

    @wraps(write)
    def written(sheets: Sequence[Sheet], caption: str) -> str:
        return write([_inert(sheet) for sheet in sheets], inert(caption))

    return written


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


@_of_inert_words
def to_text(sheets: Sequence[Sheet], caption: str) -> str:
    """Columns are aligned at the decimal point, at the ± and at the bracket."""
    blocks = []
    for sheet in sheets:
        heads = [["", *(name for name, _ in sheet.columns)], [sheet.corner, *(unit for _, unit in sheet.columns)]]
        if not any(unit for _, unit in sheet.columns):
            heads = [[sheet.corner, *heads[0][1:]]]
        body = sheet.aligned()
        widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
        lines = [_line(words, widths) for words in (*heads, ["-" * width for width in widths], *body)]
        title = f"{sheet.kind}: {sheet.title}" if sheet.kind else sheet.title
        blocks.append("\n".join([title, *lines, "", *map(wrapped, sheet.notes)]).rstrip())
    return "\n\n".join(filter(None, [*blocks, wrapped(caption)])) if blocks else NOTHING


@_of_inert_words
def to_markdown(sheets: Sequence[Sheet], caption: str) -> str:
    blocks = []
    for sheet in sheets:
        grid = [
            [_md(word).replace("|", "\\|") for word in line]
            for line in ([sheet.corner, *sheet.headers], *sheet.aligned())
        ]
        widths = [max(3, *map(len, column)) for column in zip(*grid, strict=True)]
        lines = [f"| {' | '.join(w.ljust(width) for w, width in zip(line, widths, strict=True))} |" for line in grid]
        lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
        notes = [f"- {_md(note)}" for note in sheet.notes]
        blocks.append("\n".join([f"**{_md(sheet.heading)}**", "", *lines, "", *notes]).rstrip())
    return "\n\n".join([*blocks, *([f"*{_md(caption)}*"] if caption else [])]) if blocks else NOTHING


@_of_inert_words
def to_latex(sheets: Sequence[Sheet], caption: str) -> str:
    """A ``tabular`` per sheet with its notes below; needs the package booktabs."""
    blocks = []
    for sheet in sheets:
        lines = [rf"\begin{{tabular}}{{l{'c' * len(sheet.columns)}}}", r"\toprule"]
        lines += [_tex_line([sheet.title, *sheet.headers]), r"\midrule"]
        lines += [_tex_line(words) for words in sheet.plain()]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
        lines += [rf"{{\footnotesize {_tex(text)}\par}}" for text in (*sheet.notes, caption) if text]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) if blocks else f"% {NOTHING}"


@_of_inert_words
def to_html(sheets: Sequence[Sheet], caption: str) -> str:
    """A page of its own: no script, no style sheet from elsewhere."""
    blocks = []
    for sheet in sheets:
        head = "".join(f"<th>{html.escape(word)}</th>" for word in [sheet.corner, *sheet.headers])
        body = "\n".join(_html_line(words) for words in sheet.plain())
        notes = "".join(f"<li>{html.escape(note, quote=False)}</li>" for note in sheet.notes)
        title = html.escape(sheet.heading, quote=False)
        blocks.append(f"<h2>{title}</h2>\n<table>\n<tr>{head}</tr>\n{body}\n</table>\n<ul>{notes}</ul>")
    blocks.append(f"<p><em>{html.escape(caption, quote=False)}</em></p>" if blocks else f"<p>{NOTHING}</p>")
    return "\n".join([_PAGE, *blocks, "</html>"])


def _md(text: str) -> str:
    """No tag of HTML and no link or picture."""
    return html.escape(text, quote=False).replace("](", "]\\(")


def _html_line(words: Sequence[str]) -> str:
    title, *cells = (html.escape(word, quote=False) for word in words)
    return f"<tr><th>{title}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>hype_bench</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .9rem; text-align: right; white-space: nowrap }
th:first-child { text-align: left; font-weight: 400 }
tr:first-child th { font-weight: 600; border-top: 2px solid; border-bottom: 1px solid }
tr:last-child > * { border-bottom: 2px solid }
ul { color: #555; padding-left: 1.2rem }
</style>"""


def _line(words: Sequence[str], widths: list[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip()


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
    return text.translate(_TEX)


def _tex_line(words: list[str]) -> str:
    line = " & ".join(map(_tex, words)) + r" \\"
    return f"{{}}{line}" if line.startswith("[") else line  # or the \\\\ of the line before takes it for its option


WRITERS: dict[str, _Writer] = {"text": to_text, "markdown": to_markdown, "latex": to_latex, "html": to_html}
