"""Writes ``hype_bench/methods/__init__.pyi``: for type checkers and editors, which class stands in which file.

make docs      after a technique was added; a test holds the stub to the files
"""

from __future__ import annotations

from pathlib import Path

from hype_bench import contract

STUB = Path(__file__).resolve().parents[1] / "hype_bench" / "methods" / "__init__.pyi"
_HEADER = "# Made by `make docs`; at runtime techniques are found by file.\n"


def main() -> None:
    STUB.write_text(stub(), encoding="utf-8")


def stub() -> str:
    places = {(cls.__module__, cls.__name__) for cls, _ in contract.discover().values()}
    places |= {(contract.__name__, name) for name in contract.__all__}
    own = sorted(place for place in places if place[0].startswith("hype_bench."))  # a plug-in's are the plug-in's
    return _HEADER + "".join(f"from {module} import {name} as {name}\n" for module, name in own)


if __name__ == "__main__":
    main()
