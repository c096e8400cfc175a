"""The same scores as an ``evaluate.Metric``, which needs no hub (``evaluate.load`` asks it even for accuracy)."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from hype_bench.config import REGRESSION_METRICS
from hype_bench.tasks.metrics import score


class TaskMetric(evaluate.Metric):  # type: ignore[misc]
    """``TaskMetric("matthews").compute(predictions=..., references=...)``; names as in ``config.METRICS``.

    Reference: GLUE (Wang et al. 2018), arXiv:1804.07461; HyPe paper, Table 10.
    """

    def __init__(self, metric: str, **kwargs: Any) -> None:
        self.metric = metric
        super().__init__(config_name=metric, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        kind = datasets.Value("float64" if self.metric in REGRESSION_METRICS else "int64")
        return evaluate.MetricInfo(
            description=f"Scores of a task whose headline metric is {self.metric}.",
            citation="arXiv:1804.07461",
            inputs_description="predictions and references: one number per example, in the same order",
            features=datasets.Features({"predictions": kind, "references": kind}),
        )

    def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        return score(self.metric, references, predictions)
