"""Random tensors on a CUDA device as a function of (seed, forward pass, site), drawn by a counter-based generator.

A kernel reads the number of the pass from device memory, so that a CUDA graph draws afresh at every replay, and what
gradient checkpointing computes again draws what it drew before. Nothing is copied to the device.

Reference: Salmon, Moraes, Dror and Shaw 2011, "Parallel Random Numbers: As Easy as 1, 2, 3" (Philox-4x32).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024
_GOLDEN_RATIO = tl.constexpr(-7046029254386353131)  # 2^64 / phi: seeds of consecutive passes share no bits


def draw(shape: torch.Size, dtype: torch.dtype, passes: Tensor, site: int, distribution: str) -> Tensor:
    """N(0, 1) for ``distribution="normal"``, U[0, 1) for ``"uniform"``.

    Args:
        passes: the number of the current forward pass, one int64 on the device.
        site: a 64-bit seed.
    """
    values = torch.empty(shape, dtype=dtype, device=passes.device)
    if count := values.numel():
        _draw[(triton.cdiv(count, _BLOCK),)](values, passes, site, count, distribution == "normal", _BLOCK)
    return values


@triton.jit(do_not_specialize=["site", "count"])  # type: ignore[untyped-decorator]
def _draw(values, passes, site, count, is_normal: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    index = tl.program_id(0) * block + tl.arange(0, block)
    seed = site + tl.load(passes) * _GOLDEN_RATIO
    draws = tl.randn(seed, index) if is_normal else tl.rand(seed, index)
    tl.store(values + index, draws.to(values.dtype.element_ty), mask=index < count)
