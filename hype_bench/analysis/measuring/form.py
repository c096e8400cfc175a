"""What an analysis of one finished run is: a choice of the group ``analysis`` that measures something of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hype_bench.options import check_fields
from hype_bench.runs.measured import Measured as Measured

if TYPE_CHECKING:  # torch comes with them
    from hype_bench.analysis.measuring.trained import Trained
    from hype_bench.config import RunConfig
    from hype_bench.tasks.data import TaskData


class Analysis:
    """Base of every analysis of one run. Subclasses are frozen dataclasses whose fields are the options.

    Attributes:
        metric: of the record's headline score.
        needs_every_token: whether it reads what the layers put out; the model then computes every token of the top
            layer on packed rows too, and gives its hidden states.
        needs_weights: whether it reads what was trained; if not, the run is neither trained nor looked for.
        version: raised when its numbers change: old records are then other analyses.
    """

    metric: ClassVar[str] = "accuracy"
    needs_every_token: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_fields("", self)

    def title(self, name: str) -> str:
        """What tables call it behind the name of the run's task; ``name``: its own."""
        return name

    def check(self, run: RunConfig) -> None:
        """Raises UserError for a run that cannot be analysed, before anything is loaded."""

    def data(self, run: RunConfig) -> list[TaskData]:
        """What it reads beside the run's own data; it belongs to the identity of the analysis.

        Raises:
            UserError: it is not available.
        """
        return []

    def measure(self, trained: Trained) -> Measured:
        """Analyses a run whose weights are there.

        Raises:
            UserError: its weights or data cannot be analysed.
        """
        raise NotImplementedError
