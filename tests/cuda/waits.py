"""Where an update waits for the device today, and why: for the stand-in, and for a GPU (tests/gpu)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import FrameType

import hype_bench

PACKAGE = Path(hype_bench.__file__).parent

# What waits, and where. A line that is no longer true is deleted; none is added.
WAITS = {
    "aten._local_scalar_dense.default @ training/loop.py _step": "fp16: whether gradients overflowed",
    "copy to the host @ methods/greentrainer.py _choose": "which tensors train is chosen there, once in some epochs",
    "aten._linalg_svd.default @ methods/nmtune.py dominance": "whether the solver has converged",
    "aten.index.Tensor with a mask @ methods/lt_sft.py largest_entries": "once, when the first phase ends",
    "aten._local_scalar_dense.default @ methods/lt_sft.py next_phase": "how many entries train, likewise",
    "aten.index.Tensor with a mask @ methods/noisefit.py _at": "padded: real tokens alone",
    "aten.index_put.default with a mask @ elsewhere": "the same in the backward pass",
    "aten._local_scalar_dense.default @ methods/wta_crs.py _rows": "padded: how many tokens are real",
    "aten._local_scalar_dense.default @ contract/objective.py forward": "padded: transformers looks for padding",
}


def place(frames: Iterable[FrameType]) -> str:
    """``folder/file.py function:line`` of the first of these frames that is of the package.

    Those of comprehensions and lambdas are passed over: Python 3.12 has none for some of them. In a backward pass there
    is none at all.
    """
    for frame in frames:
        code = frame.f_code
        if Path(code.co_filename).is_relative_to(PACKAGE) and not code.co_name.startswith("<"):
            return f"{Path(code.co_filename).relative_to(PACKAGE)} {code.co_name}:{frame.f_lineno}"
    return "elsewhere"


def reason_to_wait_at(place: str) -> str | None:
    """Of a place with its line, if an update is known to wait there."""
    return {where.partition(" @ ")[2]: reason for where, reason in WAITS.items()}.get(place.rpartition(":")[0])
