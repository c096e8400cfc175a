"""How an encoder is regularised: one file per technique.

Every technique can be imported from here by the name of its class: ``from hype_bench.methods import HyPe, RDrop``.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Techniques are found by file, not listed: looked up when first asked for."""
    from hype_bench.contract.registry import discover

    classes = {cls.__name__: cls for cls, _ in discover().values()} if name[:1].isupper() else {}
    if name not in classes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return classes[name]
