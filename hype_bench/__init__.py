"""hype_bench: does this fine-tuning technique really help?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hype_bench.runs.frame import load_results as load_results

__version__ = "0.2.0"
__all__ = ["__version__", "load_results"]


def __getattr__(name: str) -> Any:
    """``load_results`` imports pandas, for which only those wait who use it."""
    if name == "load_results":
        from hype_bench.runs.frame import load_results

        return load_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
