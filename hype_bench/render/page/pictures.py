"""A figure as part of a page: SVG in the page's own colours, light or dark."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from hype_bench.output import inert
from hype_bench.render.plots.style import GREY, STRIPE

MOST = 24  # pictures of single tasks, of a kind: with more, a page takes long to write and to open
_COLOURS = {"#000000": "currentColor", GREY: "var(--muted)", STRIPE: "var(--stripe)"}
_IDS = re.compile(r'(\bid="|url\(#|href="#)')


def inline(figure: Figure, name: str) -> Markup:
    """The picture as an element of a page.

    Args:
        name: which picture it is, in words for those who cannot see it; no two of a page have the same.
    """
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            stream, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    svg = stream.getvalue()
    svg = svg[svg.index("<svg ") :]
    for own, of_page in _COLOURS.items():
        svg = svg.replace(own, of_page)
    prefix = re.sub(r"\W", "-", name)
    svg = _IDS.sub(rf"\g<1>{prefix}-", svg)
    return Markup(
        svg.replace("<svg ", f'<svg role="img" aria-label="{escape(inert(name))}" ', 1)
    )  # matplotlib escapes names
