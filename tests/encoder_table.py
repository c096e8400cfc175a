"""The table of docs/encoders.md: what works with what, from what the tests of architectures hold.

python -m tests.encoder_table      writes it (make docs)
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from hype_bench.contract.registry import discover
from hype_bench.models.hidden_dropout import hidden_dropouts
from hype_bench.models.packing import can_pack
from hype_bench.testing.tiny import FAMILIES, tiny
from tests.architectures import ARCHITECTURES, DECODERS, FOR_DECODERS, REFUSED, architecture

PAGE = Path(__file__).resolve().parents[1] / "docs" / "encoders.md"
_START, _END = "<!-- table: make docs -->\n", "<!-- end -->"


def table() -> str:
    """A row per architecture: packed rows or padding, whether there is hidden dropout, techniques."""
    rows = [_row(family.replace("_", "-"), tiny(family), _techniques(family)) for family in FAMILIES]
    rows += [_row(kind, architecture(kind), _techniques(kind)) for kind in ARCHITECTURES]
    few = ", ".join(f"`{name}`" for name in FOR_DECODERS)
    rows += [_row(kind, architecture(kind), f"tested with {few}") for kind in DECODERS]
    return "\n".join(["| architecture | batches | hidden dropout | techniques |", "|---|---|---|---|", *rows])


def _row(kind: str, model: PreTrainedModel, techniques: str) -> str:
    batches = "packed" if can_pack(model) else "padded"
    return f"| {kind} | {batches} | {'yes' if hidden_dropouts(model) else 'none'} | {techniques} |"


def _techniques(kind: str) -> str:
    refused = sorted(REFUSED.get(kind, set()) & set(discover()))
    return "all" if not refused else f"all but {', '.join(f'`{name}`' for name in refused)}"


def filled(page: str) -> str:
    before, start, rest = page.partition(_START)
    _, end, after = rest.partition(_END)
    assert end, f"{PAGE.name} has no region for the table"
    return f"{before}{start}{table()}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
