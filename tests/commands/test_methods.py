"""``hype-bench methods``: read from the files of techniques, it says what the techniques themselves say."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from hype_bench.commands.methods import documented_by_us, methods
from hype_bench.contract.registry import cards, described


def test_the_files_say_what_the_techniques_say() -> None:
    assert documented_by_us() == {
        name: (inspect.getdoc(technique), getattr(technique, "unmerged", "")) for name, technique in described().items()
    }


def test_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    methods()
    unsaved = {name for name, technique in described().items() if getattr(technique, "unmerged", "")}
    assert capsys.readouterr().out.splitlines() == [
        f"{name:<24}{card.summary}{' (cannot be saved)' * (name in unsaved)}" for name, card in cards().items()
    ]


def test_it_needs_no_torch() -> None:
    asks = "from hype_bench.commands.methods import methods; methods('sage')"
    program = f"import sys; {asks}; assert 'torch' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("SAGE: ")
