"""The four formats of one small table, letter by letter, and what holds for any."""

import csv
import io
import math
import re
import shutil
import subprocess
from statistics import mean, stdev

import pytest

from hype_bench.render.table_csv import COLUMNS, interval
from hype_bench.render.text import CAPTION, FORMATS, cell_text, extremes, sheets, write
from hype_bench.stats.means import interval_of_mean
from hype_bench.tables.cells import AVERAGE, Cell, Row
from hype_bench.tables.notes import Note
from hype_bench.tables.table import Table

GENERATED = "generated: demo_cola is made by a program; its scores say nothing about the real task"


@pytest.fixture
def table():
    return Table(
        "minilm",
        ["demo_cola", "rte"],
        {
            Row("vanilla"): {
                "demo_cola": Cell("matthews", {1: 0.0, 2: -0.02, 3: 0.05}),
                "rte": Cell("accuracy", {1: 0.65, 2: 0.66, 3: 0.67}),
            },
            Row("hype_n", (("scale", "0.0001"),)): {
                "demo_cola": Cell("matthews", {1: 0.4125, 2: 0.6875}, {"failed": 1}),
                "rte": Cell("accuracy", {}, {"running": 2}),
            },
            Row("hype_u"): {"rte": Cell("accuracy", {1: 1.0})},
        },
        [Note(GENERATED, frozenset(["demo_cola"])), Note("X: no score", frozenset(["rte"]))],
    )


def ends(*scores: float) -> str:
    return ",".join(map(repr, interval_of_mean(mean(scores), stdev(scores), len(scores))))


TEXT = f"""\
model: minilm
                     demo_cola                    rte
method               Matthews                     accuracy
-------------------  ---------------------------  -------------------------
vanilla               1.00 ±  3.61 (3)             66.00 ± 1.00 (3)
hype_n (scale=1e-4)  55.00 ± 19.45 (2, 1 failed)       X        (2 running)
hype_u                   -                        100.00        (1)

{GENERATED}
X: no score

{CAPTION}"""

MARKDOWN = f"""\
**minilm**

| method              | demo_cola (Matthews)        | rte (accuracy)            |
|---------------------|-----------------------------|---------------------------|
| vanilla             |  1.00 ±  3.61 (3)           |  66.00 ± 1.00 (3)         |
| hype_n (scale=1e-4) | 55.00 ± 19.45 (2, 1 failed) |      X        (2 running) |
| hype_u              |     -                       | 100.00        (1)         |

- {GENERATED}
- X: no score

*{CAPTION}*"""

BOLD = "bold: the highest mean of a column (not a test)"
LATEX = rf"""% needs \usepackage{{booktabs,graphicx}}

\begin{{table}}[t]
\centering
\caption{{minilm. {CAPTION.replace("±", "$" + chr(92) + "pm$")}; {BOLD}}}
\label{{tab:minilm}}
\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
\begin{{tabular}}{{lcc}}
\toprule
method & demo\_cola (Matthews) & rte (accuracy) \\
\midrule
vanilla & 1.00 $\pm$ 3.61 (3) & 66.00 $\pm$ 1.00 (3) \\
hype\_n (scale=1e-4) & 55.00 $\pm$ 19.45 (2, 1 failed) & X (2 running) \\
hype\_u & - & \textbf{{100.00 (1)}} \\
\bottomrule
\end{{tabular}}}}

{{\footnotesize {GENERATED.replace("_", chr(92) + "_")}\par}}
{{\footnotesize X: no score\par}}
\end{{table}}"""

CSV = f"""\
{",".join(COLUMNS)}
minilm,demo_cola,vanilla,,,matthews,3,0.01,{stdev([0.0, -0.02, 0.05])!r},{ends(0.0, -0.02, 0.05)},1 2 3,0.0 -0.02 0.05,0,,{GENERATED}
minilm,rte,vanilla,,,accuracy,3,0.66,{stdev([0.65, 0.66, 0.67])!r},{ends(0.65, 0.66, 0.67)},1 2 3,0.65 0.66 0.67,0,,X: no score
minilm,demo_cola,hype_n,scale=1e-4,,matthews,2,0.55,{stdev([0.4125, 0.6875])!r},,,1 2,0.4125 0.6875,0,1 failed,{GENERATED}
minilm,rte,hype_n,scale=1e-4,,accuracy,0,,,,,,,0,2 running,X: no score
minilm,rte,hype_u,,,accuracy,1,1.0,,,,1,1.0,0,,X: no score"""  # noqa: E501


HTML = f"""\
<h2>minilm</h2>
<table>
<thead>
<tr>
<th >method</th>
<th >demo_cola (Matthews)</th>
<th >rte (accuracy)</th>
</tr>
</thead>
<tbody>
<tr>
<td >vanilla</td>
<td > 1.00 ±  3.61 (3)</td>
<td > 66.00 ± 1.00 (3)</td>
</tr>
<tr>
<td >hype_n (scale=1e-4)</td>
<td >55.00 ± 19.45 (2, 1 failed)</td>
<td >     X        (2 running)</td>
</tr>
<tr>
<td >hype_u</td>
<td >    -</td>
<td ><strong>100.00        (1)</strong></td>
</tr>
</tbody>
</table>
<ul><li>{GENERATED}</li><li>X: no score</li></ul>
<p><em>{CAPTION}; {BOLD}</em></p>
</html>"""


def test_html_is_a_page_of_its_own(table):
    text = write([table], "html")
    assert text.startswith("<!doctype html>")
    assert "<title>minilm - hype_bench</title>" in text
    assert re.sub(r"(?m)^ +(?=<)", "", text).endswith(HTML)
    table.rows[Row("<b>&")] = {}
    assert "<td >&lt;b&gt;&amp;</td>" in write([table], "html")


@pytest.mark.parametrize(("name", "expected"), {"text": TEXT, "markdown": MARKDOWN, "latex": LATEX, "csv": CSV}.items())
def test_letter_by_letter(table, name, expected):
    assert write([table], name) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_no_runs(name):
    text = write([], name)
    assert ("model,task" if name == "csv" else "no runs yet") in text
    if name != "html":
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize("name", ["text", "markdown", "latex"])
def test_several_tables_share_one_caption_or_carry_their_own(table, name):
    text = write([table, table], name)
    expected = CAPTION.replace("±", r"$\pm$") if name == "latex" else CAPTION
    assert text.count(expected) == (2 if name == "latex" else 1)
    assert text.count("hype_n" if name != "latex" else r"hype\_n") == 2


def test_text_columns_are_aligned_at_point_sign_and_bracket(table):
    lines = write([table]).splitlines()
    body = lines[lines.index(next(line for line in lines if line.startswith("---"))) + 1 : -5]
    assert len(body) == 3
    column = lines[1].index("rte")
    cells = [line[column:] for line in body]
    assert {cell.index(".") for cell in cells if "." in cell} == {3}
    assert {cell.index("(") for cell in cells} == {len("100.00 ± 1.00 ")}
    assert all(line == line.rstrip() for line in lines)


def test_text_lines_under_a_table_are_wrapped():
    notes = [Note(" ".join(["subset"] * 40), frozenset())]
    text = write([Table("m", ["t"], {Row("r"): {"t": Cell("accuracy", {1: 0.5})}}, notes)])
    assert max(map(len, text.splitlines())) <= 110
    assert "\n  subset" in text


def test_markdown_is_a_table_also_with_a_bar_in_a_name(table):
    table.rows[Row("a|b")] = {"rte": Cell("accuracy", {1: 0.5})}
    grid = [line for line in write([table], "markdown").splitlines() if line.startswith("|")]
    parts = [re.split(r"(?<!\\)\|", line) for line in grid]
    assert {len(line) for line in parts} == {3 + 2}
    assert all(set(word.strip()) == {"-"} for word in parts[1][1:-1])
    assert len({len(line) for line in grid}) == 1
    assert "a\\|b" in grid[-1]


HOSTILE = r"50% of_{all} & #1 \alpha ~ ^2 <$5>"


def test_latex_escapes_every_special_letter(table):
    table.rows[Row(HOSTILE)] = {"rte": Cell("accuracy", {1: 0.5})}
    (line,) = [line for line in write([table], "latex").splitlines() if line.startswith("50")]
    expected = (
        r"50\% of\_\{all\} \& \#1 \textbackslash{}alpha \textasciitilde{} \textasciicircum{}2 "
        r"\textless{}\$5\textgreater{} & - & 50.00 (1) \\"
    )
    assert line == expected


def marked(**rows: Cell) -> list[str]:
    """The rows whose cell is in bold."""
    text = write([Table("m", ["rte"], {Row(name): {"rte": cell} for name, cell in rows.items()}, [])], "latex")
    assert ("bold: the highest mean" in text) == (r"\textbf" in text)
    return re.findall(r"(?m)^(\w+) & \\textbf", text)


def test_the_highest_whole_mean_of_several_is_bold():
    low, high = Cell("accuracy", {1: 0.5}), Cell("accuracy", {1: 0.75})
    assert marked(a=low, b=high) == ["b"]
    assert marked(a=high, b=low, c=high) == ["a", "c"]
    assert marked(a=high) == marked(a=high, b=high) == []
    diverged, nan = Cell("accuracy", {1: 0.9}, {"diverged": 1}), Cell("accuracy", {1: math.nan, 2: 0.9})
    assert marked(a=low, b=high, c=diverged, d=nan) == ["b"]
    assert marked(a=diverged, b=high) == []


def test_intervals_are_not_bold_and_one_of_the_average_needs_seeds_on_every_task():
    cells = {"rte": Cell("accuracy", {1: 0.5, 2: 0.6}), AVERAGE: Cell(AVERAGE, {0: 0.55})}
    lower = {"rte": Cell("accuracy", {1: 0.4, 2: 0.6}), AVERAGE: Cell(AVERAGE, {0: 0.5})}
    first, second, third = sheets([Table("m", list(cells), {Row("a"): cells, Row("b"): lower}, [])], intervals=True)
    assert first.best == {(0, 0), (0, 1)}
    assert (second.best, second.columns, second.plain()[0][2]) == (
        frozenset(),
        [("rte", "accuracy"), (AVERAGE, "")],
        "-",
    )
    assert (third.best, third.columns) == (frozenset(), [("rte", "accuracy")])


def test_an_interval_never_leaves_the_range_of_its_metric():
    high, low = Cell("accuracy", {1: 0.9, 2: 0.999, 3: 0.999}), Cell("matthews", {1: -0.9, 2: -0.99, 3: -0.99})
    zero, average = Cell("accuracy", {1: 0.001, 2: 0.1, 3: 0.001}), Cell(AVERAGE, {0: 0.0}, tasks=[high, high])
    ends = [interval(cell) or (math.nan, math.nan) for cell in (high, low, zero, average)]
    assert ends[0] == pytest.approx((0.966 - 4.3027 * 0.033, 1), abs=1e-4)
    assert (ends[1][0], ends[2][0], ends[3][1]) == (-1, 0, 1)


def test_what_an_analysis_measures_is_shown_in_its_own_unit():
    cell = Cell("seconds", {1: 12.0, 2: 12.5, 3: 13.0})
    assert (cell_text(cell), extremes(cell)) == ("12.5 ± 0.5 (3)", ("12.5", "", " (12 to 13)"))
    low, high = interval(cell)
    assert low < 12.5 < 1 + 12.5 < high
    assert cell_text(Cell(AVERAGE, {0: 12.75}, tasks=[cell, cell])) == "12.75"
    drop = Cell("accuracy", {1: -0.2, 2: -0.3, 3: -0.25})
    assert cell_text(drop) == "-25.00 ± 5.00 (3)"
    assert interval(drop)[0] < -0.3


def test_extremes_leave_out_what_is_not_finite():
    assert "".join(extremes(Cell("accuracy", {1: 0.5, 2: 0.8, 3: 0.6, 4: math.nan}))) == "60.00 (50.00 to 80.00)"
    assert "".join(extremes(Cell("accuracy", {1: math.nan}))) == "-"
    assert "".join(extremes(None)) == "-"


def test_latex_is_balanced(table):
    text = write([table, table], "latex")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for line in text.splitlines():
        if line.endswith(r" \\"):
            assert len(re.findall(r"(?<!\\)&", line)) == 2
    bare = re.sub(r"\\[\\{}%&#$_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.isascii()


def test_latex_compiles(table, tmp_path):
    program = next(filter(None, map(shutil.which, ("pdflatex", "tectonic", "xelatex", "lualatex"))), None)
    if program is None:
        pytest.skip("no LaTeX is installed (Debian: texlive-latex-recommended)")
    table.rows[Row(f"{HOSTILE} {'too wide for a page ' * 8}")] = {"rte": Cell("accuracy", {1: 0.5})}
    preamble = r"\documentclass{article}\usepackage{booktabs,graphicx}"
    page = rf"{preamble}\begin{{document}}{write([table], 'latex')}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    flags = [] if "tectonic" in program else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([program, *flags, "page.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_csv_gives_every_number_back(table):
    table.rows[Row('nan, "quoted"')] = {"rte": Cell("accuracy", {1: math.nan, 2: 1 / 3})}
    lines = {(line["task"], line["method"]): line for line in csv.DictReader(io.StringIO(write([table], "csv")))}
    assert len(lines) == sum(map(len, table.rows.values()))
    for row, cells in table.rows.items():
        for task, cell in cells.items():
            line = lines[task, row.method]
            assert int(line["n"]) == cell.n
            for name, number in (("mean_fraction", cell.mean), ("std_fraction", cell.std)):
                assert (line[name] == "") == math.isnan(number)
                if line[name]:
                    assert float(line[name]) == number
            scores = dict(
                zip(map(int, line["seeds"].split()), map(float, line["scores_fraction"].split()), strict=True)
            )
            assert scores == pytest.approx(cell.scores, abs=0, rel=0, nan_ok=True)
