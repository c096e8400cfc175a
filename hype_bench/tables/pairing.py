"""Which runs of two cells make pairs: those of one seed, as far as it gave both the same draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd


def comparable(runs: pd.DataFrame, base: pd.DataFrame) -> tuple[list[int], list[str]]:
    """The seeds that make a pair, and why others make none."""
    sides = [side[["score"]].assign(device=side.device.astype(object).fillna("unknown")) for side in (runs, base)]
    pairs = sides[0].merge(sides[1], how="outer", on="seed", suffixes=("", "_base"))
    kinds = pairs.device + " and " + pairs.device_base + " draw different dropout and noise"
    reasons = kinds.where(pairs.device != pairs.device_base, "")
    scored = pairs[["score", "score_base"]].map(math.isfinite).all(axis=1)
    reasons = reasons.where(scored, "one of its runs has no score")
    alike = reasons[reasons != ""].groupby(reasons, sort=False).groups
    return pairs.index[reasons == ""].tolist(), [_unpaired(list(seeds), str(reason)) for reason, seeds in alike.items()]


def _unpaired(seeds: Sequence[int], reason: str) -> str:
    which = f"seed {seeds[0]} is" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))} are"
    return f"{which} not paired: {reason}"
