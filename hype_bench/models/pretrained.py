"""Reads a checkpoint's configuration, or says in one sentence why a checkpoint cannot be loaded.

Every ``from_pretrained`` of the package passes ``trust_remote_code=False``: otherwise transformers asks on standard
input whether to run the code of a checkpoint, and a sweep would wait, or be answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from hype_bench.models.checkpoint import Checkpoint
from hype_bench.models.silence import silence_transformers
from hype_bench.options import UserError


def read_config(checkpoint: Checkpoint) -> Any:
    """The checkpoint's configuration, a ``transformers.PreTrainedConfig``.

    Raises:
        UserError: there is none, or it asks for code of its own.
    """
    from transformers import AutoConfig  # takes seconds: only where a checkpoint is read

    with loading_errors(checkpoint):
        return AutoConfig.from_pretrained(checkpoint.location, trust_remote_code=False)


@contextlib.contextmanager
def loading_errors(checkpoint: Checkpoint) -> Iterator[None]:
    """Turns the many ways in which loading fails into one sentence."""
    try:
        with silence_transformers():
            yield
    except UserError:
        raise
    except Exception as error:  # OSError, ValueError, SafetensorError, JSON errors …: whatever a broken folder gives
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{checkpoint.location} needs Python code of its own, which is never run here: "
                "choose a checkpoint of an architecture that transformers has"
            ) from error
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if checkpoint.is_local:
            raise UserError(f"{checkpoint.location} cannot be loaded as a model ({first})") from error
        raise UserError(
            f"{checkpoint.location} is neither reachable on the hub nor in its cache ({first}): go online once, "
            "or set model.name_or_path to a folder that holds it, or choose model=minilm"
        ) from error
