"""``from hype_bench.methods import ...`` as type checkers see it."""

from __future__ import annotations

from typing import assert_type

import pytest

from hype_bench.methods import Hooks, HyPe, Method, RDrop
from scripts import stub


def test_the_stub_is_what_make_docs_writes() -> None:
    assert stub.STUB.read_text() == stub.stub()


def test_techniques_have_their_types() -> None:
    """``make test`` runs mypy over these lines: another type, and an error that it does not see, are errors to it."""
    assert_type(HyPe(scale=1e-4).scale, float)
    assert_type(RDrop(), RDrop)
    method: Method = HyPe()
    assert isinstance(method, HyPe)
    with pytest.raises(TypeError, match="scal"):
        HyPe(scal=1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="before_stp"):
        Hooks(before_stp=None)  # type: ignore[call-arg]
