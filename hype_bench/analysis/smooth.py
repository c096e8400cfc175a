"""``hype-bench smooth``: mixes the probabilities of an accurate and of a robust run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from hype_bench.analysis.editing.members import Members, data_of, trained
from hype_bench.analysis.editing.record import Edit, record_edits
from hype_bench.arguments import ResultsDir, existing, numbers
from hype_bench.options import UserError
from hype_bench.runs.identity import digest
from hype_bench.runs.predictions import read_logits
from hype_bench.runs.settings import without_seed
from hype_bench.runs.status import RunStatus
from hype_bench.stats.calibration import log_softmax

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.training.loop import Outcome

HELD_OUT = "heldout"
GRID = tuple(step / 10 for step in range(11))
Logits = NDArray[np.float64]


def smooth(
    accurate: Annotated[str, typer.Argument(help="The techniques of the accurate runs, such as vanilla.")],
    robust: Annotated[str, typer.Argument(help="Those of the robust runs, such as smart or hype_n+r_drop.")],
    alpha: Annotated[
        str, typer.Option(help="Weights of the robust run, from 0 to 1; or heldout: the best on held-out examples.")
    ] = HELD_OUT,
    scale: Annotated[float, typer.Option(help="Of the accurate run's logits.")] = 1.0,
    results_dir: ResultsDir = Path("results"),
) -> None:
    """Mix the probabilities of an accurate and a robust run of each seed.

    Both runs have the same model, data and training settings. The weight `heldout` is that of 0, 0.1, ..., 1 with the
    best score on training examples that were set aside (data.selection_examples); of equals the largest, which is the
    most robust one. Otherwise every alpha gives a record, a row of `hype-bench table`.

    Claim: much of the robust run's robustness at nearly the accurate run's accuracy.

    Source: Bai et al. 2024, "Improving the accuracy-robustness trade-off of classifiers via adaptive smoothing",
    SIAM Journal on Mathematics of Data Science, https://arxiv.org/abs/2301.12554; code: Bai-YT/AdaptiveSmoothing,
    commit 51f0198. This is its fixed mixture, log((1 - alpha) softmax(scale g) + alpha softmax(h)). The network that
    chooses alpha for each input reads feature maps of images and has no published form for text; it is left out.

    Cost: none beyond the two runs, whose predictions are on disk; their weights are not needed.
    """
    if scale <= 0:
        raise UserError(f"--scale must be above 0, not {scale:g}")
    alphas = [HELD_OUT] if alpha == HELD_OUT else numbers("alpha", alpha, least=0, most=1)
    mixtures = (
        Mixture(Members([run]), "smooth", {"robust": of_other, "scale": scale, "alpha": value}, other)
        for run, other, of_other in pairs(existing(results_dir), accurate, robust)
        for value in alphas
    )
    record_edits(mixtures, lambda mixture: data_of(mixture.members.first), _score, results_dir)


@dataclass(frozen=True)
class Mixture(Edit):
    """The accurate run is its member."""

    robust: RunStatus


def mix(accurate: Logits, robust: Logits, alpha: float, scale: float = 1.0) -> Logits:
    """``log((1 - alpha) softmax(scale * accurate) + alpha softmax(robust))``: probabilities are mixed, not logits."""
    with np.errstate(divide="ignore"):  # of alpha 0 and 1
        shares = np.log([1 - alpha, alpha])
    mixed: Logits = np.logaddexp(shares[0] + log_softmax(scale * accurate), shares[1] + log_softmax(robust))
    return mixed


def best_alpha(score: Callable[[float], float]) -> float:
    """The weight of the grid with the best score, of equals the largest."""
    return max(GRID, key=lambda alpha: (score(alpha), alpha))


def pairs(results_dir: Path, accurate: str, robust: str) -> Iterator[tuple[RunStatus, RunStatus, str]]:
    """The runs of both techniques that agree in all else, the seed included; and what tells the robust run from those
    of other techniques.

    Raises:
        UserError: there are none.
    """
    first, second = (_runs_of(results_dir, name) for name in (accurate, robust))
    both = [(run, second[key]) for key, run in first.items() if key in second]
    if not both:
        raise UserError(
            f"{results_dir} holds no run of {accurate} and of {robust} that have model, data, training settings and "
            f"seed in common; there are {len(first)} and {len(second)} runs"
        )
    for run, other in both:
        assert other.record is not None
        yield run, other, digest(without_seed(other.record.parts))


def _runs_of(results_dir: Path, method: str) -> dict[str, RunStatus]:
    """What tells a run from the others of its techniques -> the run."""
    runs: dict[str, RunStatus] = {}
    for run in trained(results_dir):
        assert run.record is not None
        if run.record.label.method == method:
            parts = {key: value for key, value in run.record.parts.items() if key not in ("methods", "plugins")}
            runs[digest({**parts, "seed": run.record.label.seed})] = run
    return runs


def _score(mixture: Mixture, outcome: Outcome) -> Callable[[Path], None]:
    from hype_bench.tasks.metrics import score
    from hype_bench.training.evaluation import Evaluation

    record, metric = mixture.members.first, mixture.members.first.label.metric
    if not record.parts["labels"]:
        raise UserError(f"{mixture.title}: a regression has no probabilities that can be mixed")
    logits = _both(read_logits(mixture.members.runs[0].path), read_logits(mixture.robust.path), mixture.title)

    def evaluated(split: str, alpha: float) -> Evaluation:
        labels, accurate, other = logits[split]
        mixed = mix(accurate, other, alpha, mixture.options["scale"])
        return Evaluation(labels, mixed.astype(np.float32), score(metric, labels, mixed.argmax(axis=1)))

    alpha = mixture.options["alpha"]
    if alpha == HELD_OUT:
        if "selection" not in logits:
            raise UserError(f"{mixture.title}: no examples were set aside: train with data.selection_examples=...")
        alpha = best_alpha(lambda value: float(evaluated("selection", value).scores[metric]))
    outcome.evaluations |= {split: evaluated(split, alpha) for split in logits}
    outcome.facts |= {"alpha": alpha, "robust_run": mixture.robust.identity}
    outcome.machine = dict(record.machine)
    return lambda folder: None


def _both(
    accurate: Mapping[str, tuple[Logits, Logits]], robust: Mapping[str, tuple[Logits, Logits]], title: str
) -> dict[str, tuple[NDArray[np.int64], Logits, Logits]]:
    """Split -> labels, and the logits of both runs."""
    both = {}
    for split, (labels, logits) in accurate.items():
        others = robust.get(split)
        if others is None or not np.array_equal(labels, others[0]):
            raise UserError(f"{title}: the two runs were not scored on the same examples of {split}")
        both[split] = labels.astype(np.int64), logits, others[1]
    return both
