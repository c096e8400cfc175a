"""Whether saved weights are still what the run saved: its record has their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hype_bench.options import UserError
from hype_bench.runs.reading import read_json
from hype_bench.runs.record import Record


def digest_of_weights(model: Path) -> str | None:
    """Of the safetensors files in a ``from_pretrained`` folder, None if there are none."""
    files = sorted(model.glob("*.safetensors"))
    total = hashlib.blake2b(digest_size=16)
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "blake2b").digest())
    return total.hexdigest() if files else None


def has_weights(run: Path) -> bool:
    return any((run / "model").glob("*.safetensors"))


def check_weights(run: Path, record: Record) -> None:
    """Raises UserError if a run's weights are not those of its record, one that has their digest."""
    saved = [record.facts.get("weights"), _of_second_training(run)]
    if any(saved) and digest_of_weights(run / "model") not in saved:
        raise UserError(f"{run} does not hold the weights that it saved; move it away and run it again")


def _of_second_training(run: Path) -> str | None:
    try:
        return str(read_json(run / "weights.json")["weights"])
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{run / 'weights.json'} is broken; move {run} away and run it again") from error
