"""Mahalanobis: whether the hidden states tell examples from elsewhere from those of the task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.scored_data import scored_data
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.analysis.robustness import SETS, adversarial_task
from hype_bench.choices import choices, read_choice
from hype_bench.config import RunConfig, SourceConfig, TaskConfig
from hype_bench.models.hidden_states import States, read_layers
from hype_bench.options import UserError, number
from hype_bench.stats.mahalanobis import detection, fit_gaussians, squared_distances
from hype_bench.tasks.data import Split, TaskData

ADV_GLUE = "adv_glue"


@dataclass(frozen=True)
class Mahalanobis(Analysis):
    """Detection of adversarial or out-of-domain examples by their Mahalanobis distance to the training examples.

    Of each layer, the state of the token that the head reads is modelled as a Gaussian for each class with a common
    covariance, fitted on training examples. The distance to the nearest class is to tell the examples of another set
    from those of the split that is reported. The first score is the area under the ROC curve (`auroc`, 0.5 for a guess)
    for the top layer; `layer_0`, the embeddings, and the other layers stand beside it. `fpr95` is the share of the
    task's own examples that are taken for others where 95 % of those are found.

    Args:
        against: `adv_glue`, the adversarial sets of the task, or the name of another task, such as `rte`.
        examples: of the training split, on which the Gaussians are fitted.

    Claim: adversarial and out-of-domain examples lie further from the training examples of their class.

    Source: Lee, Lee, Lee and Shin 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks", NeurIPS, https://arxiv.org/abs/1807.03888. Their code is for images and was not compared; what
    it does beyond the distance (noise on the input, a regression over all layers fitted on attacked examples) is left
    out. At the embeddings the first token is the same for every example, so that `layer_0` cannot tell them apart.

    Cost: the run, if its weights were not kept; one pass over the training examples and each set.
    """

    metric = "auroc"
    needs_every_token = True
    against: str = ADV_GLUE
    examples: int = number(5000, least=2)

    def check(self, run: RunConfig) -> None:
        if run.task.is_regression:
            raise UserError(f"analysis=mahalanobis: {run.task.name} is a regression, which has no classes")
        if self.against == ADV_GLUE and run.task.name not in SETS:
            raise UserError(
                f"analysis=mahalanobis: AdvGLUE has no set for task {run.task.name}; name another task with "
                "analysis.mahalanobis.against=..."
            )
        if self.against != ADV_GLUE and self.against not in choices("task"):
            raise UserError(f"analysis.mahalanobis.against must be {ADV_GLUE} or a task, not {self.against!r}")

    def data(self, run: RunConfig) -> list[TaskData]:
        if self.against == ADV_GLUE:
            return [scored_data(adversarial_task(run.task, name), run) for name in SETS[run.task.name]]
        return [scored_data(_task(self.against), run)]

    def measure(self, trained: Trained) -> Measured:
        fitted = _part(trained.data.train, self.examples)
        gaussians = [fit_gaussians(states, fitted.labels.astype(np.int64)) for states in _states(trained, fitted)]

        def distances(split: Split) -> list[NDArray[np.float64]]:
            return [squared_distances(*pair) for pair in zip(gaussians, _states(trained, split), strict=True)]

        measured, own = Measured(), trained.data.evaluation[0]
        inside = distances(own)
        for place, other in enumerate(split for data in trained.further for split in data.evaluation):
            outside = distances(other)
            for layer in (len(inside) - 1, *range(len(inside) - 1)):
                name = f"{f'set_{place + 1}_' if place else ''}layer_{layer}"
                measured.scores[name] = detection(inside[layer], outside[layer])
                measured.rows[name] = len(own) + len(other)
        width = gaussians[0].means.shape[1]
        if len(fitted) <= width:
            measured.warnings.append(
                f"{len(fitted)} training examples for states of width {width}: their covariance is singular"
            )
        measured.facts = {"fitted_on": len(fitted)}
        return measured


def _part(split: Split, size: int) -> Split:
    """Some of its examples, drawn in the same way for every run."""
    rows = np.sort(np.random.default_rng(0).permutation(len(split))[:size])
    texts = tuple([column[row] for row in rows] for column in split.texts)
    return replace(split, texts=texts, labels=split.labels[rows], rows=split.rows[rows])


def _states(trained: Trained, split: Split) -> list[NDArray[np.float64]]:
    """Of each layer, the embeddings first, the states that the head reads, (examples, width)."""
    tokens = trained.tokens(split)
    layers: list[NDArray[np.float64]] = []

    def keep(states: States, indices: NDArray[np.int64]) -> None:
        if states.layer == len(layers):
            layers.append(np.empty((len(split), states.hidden.shape[1])))
        layers[states.layer][indices] = states.first.double().cpu().numpy()

    with torch.inference_mode(), trained.autocast:
        for indices, batch in trained.batches(tokens):
            del batch["labels"]
            read_layers(trained.model, batch, partial(keep, indices=indices))
    return layers


def _task(name: str) -> TaskConfig:
    content = read_choice("task", name)
    source = content.pop("source", None)
    return TaskConfig(**content, source=None if source is None else SourceConfig(**source))
