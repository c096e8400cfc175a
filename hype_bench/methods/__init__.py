"""How an encoder is regularised: one file per technique.

Every technique can be imported from here by the name of its class, and so can what a technique of one's own is made
of: ``from hype_bench.methods import HyPe, Method, RDrop``. Type checkers read ``__init__.pyi``, which ``make docs``
writes.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Techniques are found by file, not listed: looked up when first asked for."""
    if name.startswith("_"):  # what the import system asks for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hype_bench import contract

    classes = {cls.__name__: cls for cls, _ in contract.discover().values()}
    if name not in classes and name not in contract.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return classes[name] if name in classes else getattr(contract, name)
