"""Where tokenised data and tiny models are kept between processes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``hype_bench`` in the user's cache; ``HYPE_BENCH_CACHE`` moves it."""
    home = os.environ.get("HYPE_BENCH_CACHE") or os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(home) / "hype_bench"
