"""Says in one sentence why a checkpoint cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.quiet import quiet
from hype_bench.options import UserError


@contextlib.contextmanager
def readable(checkpoint: Checkpoint) -> Iterator[None]:
    """Turns the many ways in which loading fails into one sentence."""
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # OSError, ValueError, SafetensorError, JSON errors …: whatever a broken folder gives
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if checkpoint.is_local:
            raise UserError(f"{checkpoint.location} cannot be loaded as a model ({first})") from error
        raise UserError(
            f"{checkpoint.location} is neither reachable on the hub nor in its cache ({first}): go online once, "
            "or set model.name_or_path to a folder that holds it, or choose model=minilm"
        ) from error
