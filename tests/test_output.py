"""What reaches a terminal, a spreadsheet or a page cannot act there, in whatever encoding."""

from __future__ import annotations

import csv
import io
import re
import sys

import pytest

from hype_bench.output import inert, say, show, speak_any_encoding, to_csv
from hype_bench.render import writers
from hype_bench.render.figure import figure
from hype_bench.render.sheet import Sheet
from hype_bench.tables.cells import Cell, Row
from hype_bench.tables.table import Table

EVIL = "\x1b[31mred\x07\nnew\rline\u2028 \u202eback <script>x</script> [a](javascript:b) |$x_1$ \udcff\\end{tabular}"
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\udcff]")


def test_a_name_stays_on_its_line_and_other_scripts_stay_as_they_are() -> None:
    assert inert("a\nb\x1b[0m\x9b") == r"a\nb\x1b[0m\x9b"
    for name in ("größe", "模型", "שלום", "👩‍👩‍👧", "a ± b"):
        assert inert(name) == name


def test_say_prints_one_line_each_and_show_as_many_as_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb", "c")
    show("d\n\x1be")
    assert capsys.readouterr().out == "a\\nb\nc\nd\n\\x1be\n"
    say("wrong", to=sys.stderr)
    assert capsys.readouterr().err == "wrong\n"


@pytest.mark.parametrize("write", [writers.to_text, writers.to_markdown, writers.to_latex, writers.to_html])
def test_names_in_a_table_cannot_act(write) -> None:
    sheet = Sheet(EVIL, [(EVIL, EVIL)], [(EVIL, [("1.00", "", EVIL)])], [EVIL])
    plain = Sheet("a", [("a", "a")], [("a", [("1.00", "", "a")])], ["a"])
    text = write([sheet], EVIL)
    assert not ACTS.search(text)
    assert "\\x1b" in text.replace("textbackslash{}", "")
    if write != writers.to_text:
        assert "<script>" not in text
        assert text.count("\n") == write([plain], "a").count("\n")
    if write == writers.to_markdown:
        assert "](javascript" not in text
    if write == writers.to_latex:
        assert text.count(r"\end{tabular}") == 1
        assert not re.search(r"(?<!\\)\$x", text)


def test_a_row_that_begins_with_a_bracket_is_no_option_of_the_line_before() -> None:
    text = writers.to_latex([Sheet("m", [("rte", "")], [("[a,b]", [("1.00", "", "")])])], "")
    assert not re.search(r"(\\\\|rule)\n\[", text)


FORMULAS = ["=1+1", "+cmd", "-2+A1", "@SUM(1)", " =1", "\t=1", "=HYPERLINK(1)", "-", "+e1"]
NUMBERS = ["-0.24", "+1.20 [-0.31, +2.71]", "-1e-05", "1e-05 -2.5", "-inf", "nan", "+20.00 [+20.00, +20.00]", "-"]


def test_a_formula_is_no_formula_and_a_number_a_number() -> None:
    written = next(csv.reader(io.StringIO(to_csv([[*FORMULAS[:7], *FORMULAS[8:]]]))))
    assert all(cell.lstrip()[:1] not in "=+-@" for cell in written)
    same = next(csv.reader(io.StringIO(to_csv([[*NUMBERS, "hype_n", "läuft", ""]]))))
    assert same == [*NUMBERS, "hype_n", "läuft", ""]
    assert to_csv([[-1.5, None, 3]]) == "-1.5,,3\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_no_encoding_stops_the_output(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, bytes_of in written.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(bytes_of, encoding=encoding, write_through=True))
    speak_any_encoding()
    print("72.00 ± 4.00 \udcff 模")
    print("72.00 ± 4.00", file=sys.stderr)
    expected = "72.00 +- 4.00" if encoding == "ascii" else "72.00 ± 4.00"
    text = written["stdout"].getvalue().decode(encoding)
    assert text.startswith(expected)
    assert "\\udcff" in text
    assert written["stderr"].getvalue().decode(encoding).strip() == expected


def test_a_figure_takes_any_name() -> None:
    table = Table("m", ["r$t\ne"], {Row("a$b_{$"): {"r$t\ne": Cell("accuracy", {1: 0.7, 2: 0.8})}}, [])
    figure(table, {}, "x$y_{$").canvas.draw()
