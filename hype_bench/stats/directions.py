"""How far the directions of a matrix are those of another one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from hype_bench.stats.means import Floats

Matrix = Float64[Floats, "rows columns"]
Leading = Float64[Floats, "rows k"]
OfDirections = Float64[Floats, "k"]


class Directions(NamedTuple):
    """Of the leading left singular vectors of a matrix: their singular values, and of each the largest absolute cosine
    with a left singular vector of another matrix."""

    values: OfDirections
    cosines: OfDirections


def leading_directions(start: Matrix, end: Matrix, k: int) -> Directions:
    """The ``k`` leading directions of ``end`` (fewer if it has no more), held against those of ``start``.

    One whose cosine is small is an intruder: Shuttleworth, Andreas, Torralba and Sharma 2024, "LoRA vs Full
    Fine-tuning: An Illusion of Equivalence", https://arxiv.org/abs/2410.21228
    """
    u, values, _ = np.linalg.svd(end, full_matrices=False)
    return Directions(values[:k], _cosines(start, u[:, :k]))


def intruders(start: Matrix, end: Matrix, k: int, threshold: float) -> tuple[Matrix, int]:
    """The part of ``end`` that lies in those of its ``k`` leading directions whose cosine is below the threshold, and
    how many these are.

    ``end + (factor - 1) * part`` has them scaled by the factor, as ``reduce_intruder_dimension`` of peft does before it
    cuts the change to LoRA's rank.
    """
    u, values, v = np.linalg.svd(end, full_matrices=False)
    chosen = np.flatnonzero(_cosines(start, u[:, :k]) < threshold)
    return (u[:, chosen] * values[chosen]) @ v[chosen], len(chosen)


def _cosines(start: Matrix, directions: Leading) -> OfDirections:
    """The largest absolute cosine of each column with a left singular vector of ``start``."""
    before = np.linalg.svd(start, full_matrices=False).U
    cosines: OfDirections = np.abs(directions.T @ before).max(axis=1)
    return cosines


def stable_rank(matrix: Matrix) -> float:
    """The squared Frobenius norm over the squared spectral norm; NaN of a matrix of zeros."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return float((values**2).sum() / values[0] ** 2) if values[0] > 0 else float("nan")
