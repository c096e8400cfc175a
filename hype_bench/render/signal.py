"""What separates the rows of a table, as sheets below it and as columns of its CSV."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from hype_bench.render.sheet import Pieces, Sheet, p_value
from hype_bench.stats.multiple import stars
from hype_bench.stats.signal import Separation
from hype_bench.tables.signal import LEVEL, TaskSignal

_COLUMNS = [
    ("signal", "points"),
    ("noise", "points"),
    ("signal/noise", "by luck"),
    ("p", ""),
    ("separates", ""),
    ("unpaired", "by luck"),
    ("without collapsed", "by luck"),
    ("as published", ""),
    ("one seed decides", ""),
]
_NOTE = (
    "signal: range of the rows' means; noise: standard deviation over seeds within a row, without what a seed does to "
    "all rows alike; by luck: what signal/noise would be on average if all rows were equal; p: how often equal rows "
    f"lie as far apart (Tukey's studentised range), and a task separates the rows below {LEVEL}; unpaired: the same "
    "with all of the scatter over seeds, and once more without collapsed runs, which may have most of it; as "
    "published: both relative to their means (Heineman et al. 2025); one seed decides: how often one seed orders two "
    "rows as the mean of the others does (a coin: 0.50); a row that is the best of a search has more signal than one "
    "configuration"
)
_NONE: Pieces = ("-", "", "")


def signal_sheets(signals: Mapping[tuple[str, str], TaskSignal]) -> list[Sheet]:
    blocks: dict[str, list[tuple[str, list[Pieces]]]] = defaultdict(list)
    for (block, column), signal in signals.items():
        seeds = f"{signal.seeds} common seed{'s' * (signal.seeds != 1)}"
        blocks[block].append((f"{column} ({signal.rows} rows, {seeds})", _pieces(signal)))
    return [
        Sheet(block, _COLUMNS, lines, [_NOTE], kind="what separates the rows, model", corner="task")
        for block, lines in blocks.items()
    ]


def _pieces(signal: TaskSignal) -> list[Pieces]:
    paired, unpaired = signal.paired, signal.unpaired
    words = {None: "not computable", True: "yes", False: "no"}[signal.separates]
    shown = unpaired if math.isnan(paired.signal) else paired
    return [
        _number(100 * shown.signal, ".2f"),
        _number(100 * paired.noise, ".2f"),
        _ratio(paired),
        (p_value(signal.p), "", f" {stars(signal.p)}".rstrip()),
        ("", "", words),
        _ratio(unpaired),
        _ratio(signal.without_collapsed),
        _number(signal.released, ".2f"),
        _number(signal.one_seed, ".2f"),
    ]


def _ratio(separation: Separation) -> Pieces:
    return _NONE if math.isnan(separation.ratio) else (f"{separation.ratio:.2f}", "", f" ({separation.luck:.2f})")


def _number(value: float, form: str) -> Pieces:
    return _NONE if math.isnan(value) else (f"{value:{form}}", "", "")


def signal_numbers(signal: TaskSignal) -> dict[str, object]:
    """The same for every cell of a column; an empty field where there is no number."""
    values = {
        "signal_fraction": signal.unpaired.signal,
        "noise_fraction": signal.paired.noise,
        "noise_unpaired_fraction": signal.unpaired.noise,
        "signal_to_noise": signal.paired.ratio,
        "signal_to_noise_unpaired": signal.unpaired.ratio,
        "signal_to_noise_without_collapsed": signal.without_collapsed.ratio,
        "signal_to_noise_by_luck": signal.paired.luck,
        "p_signal": signal.p,
    }
    numbers: dict[str, object] = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return numbers | {"separates": {None: "", True: "yes", False: "no"}[signal.separates]}
