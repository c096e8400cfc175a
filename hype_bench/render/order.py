"""Almost stochastic order as a sheet below a table, and as a column of its CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hype_bench.render.sheet import Pieces, Sheet
from hype_bench.render.table_csv import number
from hype_bench.stats.order import ORDER_FROM
from hype_bench.tables.experiment import Place

_COLUMNS = [("violation at most", "seeds"), ("dominates", "")]
_CLEAR, _ALMOST = 0.2, 0.5
_NOTE = (
    "almost stochastic order (Dror et al. 2019; Ulmer et al. 2022): how far the row is at most, with 95 % confidence, "
    "from having the higher score at every quantile of its runs; 0: it has, 1: the baseline has; below "
    f"{_ALMOST} it dominates almost, below {_CLEAR} clearly; not adjusted for the number of lines; from {ORDER_FROM} "
    "seeds on"
)


def order_sheet(block: str, cells: Mapping[Place, tuple[int, float]], baseline: str) -> Sheet:
    lines = [(f"{row.title}, {task}", _pieces(*cell)) for (_, row, task), cell in cells.items()]
    kind = f"almost stochastic order against {baseline}, model"
    return Sheet(block, _COLUMNS, lines, [_NOTE], kind=kind, corner="method, task")


def _pieces(seeds: int, bound: float) -> list[Pieces]:
    if math.isnan(bound):
        return [("-", "", f" ({seeds})"), ("", "", "too few seeds")]
    word = "clearly" if bound < _CLEAR else "almost" if bound < _ALMOST else "no"
    return [(f"{bound:.2f}", "", f" ({seeds})"), ("", "", word)]


def order_numbers(cell: tuple[int, float] | None) -> dict[str, object]:
    """None where it was not asked for."""
    return {} if cell is None else {"order_violation": number(cell[1])}
