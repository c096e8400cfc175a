"""``make help`` names every target; the help of ``run.py`` names every verb."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from hype_bench.commands import IN_HELP

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Makefile").read_text()


def test_help_names_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.*) \$\(TABLES\)$", TEXT, re.MULTILINE)
    assert targets
    assert set(re.findall(r"^make (\S+)", shown, re.MULTILINE)) == {*targets[1].split(), "table1"}


def test_make_alone_asks_for_help() -> None:
    assert re.findall(r"^([a-z]+):", TEXT, re.MULTILINE)[0] == "help"


def test_the_help_of_a_run_names_every_verb() -> None:
    footer = (
        (ROOT / "conf/hydra/help/hype_bench.yaml").read_text().partition("footer: |")[2].partition("template: |")[0]
    )
    assert [verb for verb in IN_HELP if not re.search(rf"\b{verb}\b", footer)] == []
