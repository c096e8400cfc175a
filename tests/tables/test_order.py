"""Almost stochastic order of rows: shown if asked for, over common seeds."""

from __future__ import annotations

import pytest

from hype_bench.render.comparisons import compare
from hype_bench.render.order import order_sheet
from hype_bench.stats.order import almost_order
from hype_bench.tables.cells import Row
from hype_bench.tables.compare import Criteria
from hype_bench.tables.experiment import results
from hype_bench.tables.order import orders
from tests.tables.test_signal import experiment

VANILLA, HYPE = [0.60, 0.62, 0.64, 0.61, 0.63], [0.70, 0.71, 0.75, 0.69, 0.72, 0.1]


def test_only_common_seeds_count() -> None:
    plan, statuses = experiment({"vanilla": VANILLA, "hype_n": HYPE})
    (bound,) = orders(results(plan, statuses, "paper"), "vanilla").values()
    assert bound == (5, almost_order(HYPE[:5], VANILLA))


@pytest.mark.parametrize(
    ("bound", "word"), [(0.1, "clearly"), (0.3, "almost"), (0.6, "no"), (float("nan"), "too few seeds")]
)
def test_what_the_bound_means(bound: float, word: str) -> None:
    sheet = order_sheet("m", {("m", Row("hype_n"), "rte"): (5, bound)}, "vanilla")
    assert sheet.plain()[0][2] == word


def test_it_is_shown_if_asked_for() -> None:
    plan, statuses = experiment({"vanilla": VANILLA, "hype_n": HYPE})
    cells = results(plan, statuses, "paper")
    kinds = [
        [sheet.kind for sheet in compare(plan, cells, "vanilla", Criteria(order=asked)).sheets]
        for asked in (False, True)
    ]
    assert [each for each in kinds[1] if each not in kinds[0]] == ["almost stochastic order against vanilla, model"]
