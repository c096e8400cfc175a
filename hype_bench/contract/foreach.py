"""How many tensors one call of ``torch._foreach_*`` takes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor


def together(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """The lists that are worth a call: on a GPU all tensors, which take a few kernels; on a CPU one after the other, so
    that each stays in the processor's cache from one call to the next."""
    yield from [tensors] if tensors and tensors[0].device.type != "cpu" else [[tensor] for tensor in tensors]
