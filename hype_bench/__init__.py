"""hype_bench: does this fine-tuning technique really help?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hype_bench.runs.frame import load_results as load_results

__version__ = "0.2.0"
__all__ = ["__version__", "load_results"]

# Torch's OpenMP on Linux reads it when torch is imported. Its threads spin while they wait for one another, by default
# 300,000 times: on cores that others use too, an update takes several times as long. 1,000 are about 50 us.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    """``load_results`` imports pandas, for which only those wait who use it."""
    if name == "load_results":
        from hype_bench.runs.frame import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
