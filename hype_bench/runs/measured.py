"""What an analysis measured of one run, before it becomes a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch comes with them
    from numpy.typing import NDArray

    from hype_bench.tasks.data import Split
    from hype_bench.training.evaluation import Evaluation


@dataclass
class Measured:
    """What an analysis found out about one run.

    Attributes:
        scores: split -> metric -> value. A split is whatever is measured apart: a data set, a layer. The analysis'
            ``metric`` on the first one is the cell of a table, on the others a column beside it. Metrics of tasks are
            fractions; any other may be any number.
        rows: split -> how many examples its values are from.
        evaluations: split -> what was predicted for each of its examples, for ``predictions.csv``.
        classes: the names of the classes that were predicted; of the run's, if it is empty.
        arrays: name -> array, kept beside the record in ``arrays.npz``.
        facts: anything else that JSON can hold.
        warnings: sentences for the user and the record.
        subset, absent: of further data that it read, as :class:`~hype_bench.tasks.data.TaskData` has them; those of the
            run and of what :meth:`Analysis.data` gave are entered for it.
    """

    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    evaluations: list[tuple[Split, Evaluation]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    subset: dict[str, tuple[int, int]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def add(self, split: Split, evaluation: Evaluation) -> None:
        """Enters the scores and the predictions of a split under its name."""
        self.scores[split.name] = evaluation.scores
        self.rows[split.name] = len(split)
        self.evaluations.append((split, evaluation))
