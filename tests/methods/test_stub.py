"""``from hype_bench.methods import ...`` as type checkers see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts import stub

CODE = """
from hype_bench.methods import Hooks, HyPe, Method, RDrop
reveal_type(HyPe(scale=1e-4).scale)
reveal_type(RDrop())
method: Method = HyPe()
HyPe(scal=1.0)
Hooks(before_stp=None)
"""


def test_the_stub_is_what_make_docs_writes() -> None:
    assert stub.STUB.read_text() == stub.stub()


def test_techniques_have_their_types(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "mypy.ini").write_text("[mypy-torch.*,transformers.*,peft.*,numpy.*]\nfollow_imports = skip\n")
    mypy = [sys.executable, "-m", "mypy", "code.py", "--cache-dir", "cache"]
    done = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line.startswith("code.py")]
    assert [line.partition(": ")[2] for line in lines] == [
        'note: Revealed type is "float"',
        'note: Revealed type is "hype_bench.methods.r_drop.RDrop"',
        'error: Unexpected keyword argument "scal" for "HyPe"; did you mean "scale"?  [call-arg]',
        'error: Unexpected keyword argument "before_stp" for "Hooks"; did you mean "before_step"?  [call-arg]',
    ]
