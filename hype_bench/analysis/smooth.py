"""``hype-bench smooth``: mixes the probabilities of an accurate and of a robust run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from hype_bench.analysis.editing.members import Members, trained
from hype_bench.analysis.editing.record import Edit, record_edits
from hype_bench.arguments import ResultsDir, existing, numbers
from hype_bench.options import UserError
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.identity import digest
from hype_bench.runs.predictions import read_logits
from hype_bench.runs.record import HELDOUT, Record
from hype_bench.runs.settings import without_seed
from hype_bench.runs.status import RunStatus
from hype_bench.stats.calibration import log_softmax

if TYPE_CHECKING:  # torch comes with it
    from hype_bench.tasks.data import TaskData
    from hype_bench.training.loop import Outcome

BEST = "heldout"  # the weight that is best on examples that were set aside
GRID = tuple(step / 10 for step in range(11))
Logits = NDArray[np.float64]
Both = tuple[NDArray[np.int64], Logits, Logits]  # labels, and the logits of the accurate and of the robust run


def smooth(
    accurate: Annotated[str, typer.Argument(help="The techniques of the accurate runs, such as vanilla.")],
    robust: Annotated[str, typer.Argument(help="Those of the robust runs, such as smart or hype_n+r_drop.")],
    alpha: Annotated[
        str, typer.Option(help="Weights of the robust run, from 0 to 1; or heldout: the best on held-out examples.")
    ] = BEST,
    scale: Annotated[float, typer.Option(help="Of the accurate run's logits.")] = 1.0,
    results_dir: ResultsDir = Path("results"),
) -> None:
    """Mix the probabilities of an accurate and a robust run of each seed.

    Both runs have the same model, data and training settings. The weight `heldout` is that of 0, 0.1, ..., 1 with the
    best score on training examples that were set aside (data.selection_examples); of equals the largest, which is the
    most robust one. Otherwise every alpha gives a record, a row of `hype-bench table`. Where both runs were scored on
    adversarial examples (analysis=robustness), these are mixed too, with the weight of the runs.

    Claim: much of the robust run's robustness at nearly the accurate run's accuracy.

    Source: Bai et al. 2024, "Improving the accuracy-robustness trade-off of classifiers via adaptive smoothing",
    SIAM Journal on Mathematics of Data Science, https://arxiv.org/abs/2301.12554; code: Bai-YT/AdaptiveSmoothing,
    commit 51f0198. This is its fixed mixture, log((1 - alpha) softmax(scale g) + alpha softmax(h)). The network that
    chooses alpha for each input reads feature maps of images and has no published form for text; it is left out.

    Cost: none beyond the two runs, whose predictions are on disk; their weights are not needed.
    """
    if scale <= 0:
        raise UserError(f"--scale must be above 0, not {scale:g}")
    alphas = [BEST] if alpha == BEST else numbers("alpha", alpha, least=0, most=1)
    mixtures = (
        Mixture(Members([run]), "smooth", {**_options_of(other), "scale": scale, "alpha": value}, other)
        for run, other in pairs(existing(results_dir), accurate, robust)
        for value in alphas
    )
    record_edits(mixtures, _scored_data, _score, results_dir)


@dataclass(frozen=True)
class Mixture(Edit):
    """The accurate run is its member."""

    robust: RunStatus


def _options_of(run: RunStatus) -> dict[str, str]:
    """What tells the robust run from those of other techniques and settings."""
    assert run.record is not None
    return {"robust": run.record.label.method, "robust_settings": digest(without_seed(run.record.parts))}


def mix(accurate: Logits, robust: Logits, alpha: float, scale: float = 1.0) -> Logits:
    """``log((1 - alpha) softmax(scale * accurate) + alpha softmax(robust))``: probabilities are mixed, not logits."""
    with np.errstate(divide="ignore"):  # of alpha 0 and 1
        shares = np.log([1 - alpha, alpha])
    mixed: Logits = np.logaddexp(shares[0] + log_softmax(scale * accurate), shares[1] + log_softmax(robust))
    return mixed


def best_alpha(score: Callable[[float], float]) -> float:
    """The weight of the grid with the best score, of equals the largest."""
    return max(GRID, key=lambda alpha: (score(alpha), alpha))


def pairs(results_dir: Path, accurate: str, robust: str) -> Iterator[tuple[RunStatus, RunStatus]]:
    """The runs of both techniques that agree in all else, the seed included; also analyses that predicted examples.

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
    yield from both


def _runs_of(results_dir: Path, method: str) -> dict[str, RunStatus]:
    """What tells a run from the others of its techniques -> the run."""
    runs: dict[str, RunStatus] = {}
    for run in trained(results_dir):
        assert run.record is not None
        if run.record.label.method == method and (run.path / "predictions.csv").is_file():
            parts = {key: value for key, value in run.record.parts.items() if key not in ("methods", "plugins")}
            runs[digest({**parts, "seed": run.record.label.seed})] = run
    return runs


def _scored_data(mixture: Mixture) -> TaskData:
    """What the record of the accurate run says of its data, and of each split what stands beside its predictions."""
    from hype_bench.tasks.data import Split, TaskData

    record = _whole(mixture.members.runs[0])
    splits = [Split(name, (), of.labels, of.rows) for name, of in read_logits(mixture.members.runs[0].path).items()]
    empty = np.zeros(0, dtype=np.int64)
    return TaskData(
        train=Split("train", (), empty, empty),
        evaluation=splits,
        labels=list(record.parts["labels"]),
        fingerprint=record.parts["data"],
        dropped=dict(record.dropped),
        subset={split: (rows[0], rows[1]) for split, rows in record.subset.items()},
        absent=list(record.absent),
    )


def _score(mixture: Mixture, outcome: Outcome) -> Callable[[Path], None]:
    from hype_bench.training.evaluation import Evaluation

    run, options = mixture.members.runs[0], mixture.options
    record = _whole(run)
    if not record.parts["labels"]:
        raise UserError(f"{mixture.title}: a regression has no probabilities that can be mixed")
    alpha = options["alpha"]
    if alpha == BEST:
        held_out = _both(_trained_run(run), _trained_run(mixture.robust), mixture.title).get(HELDOUT)
        if held_out is None:
            raise UserError(f"{mixture.title}: no examples were set aside: train with data.selection_examples=...")
        alpha = best_alpha(lambda value: _scores(record, held_out, value, options["scale"])[record.label.metric])
    for split, both in _both(run.path, mixture.robust.path, mixture.title).items():
        logits = mix(*both[1:], alpha, options["scale"]).astype(np.float32)
        outcome.evaluations[split] = Evaluation(both[0], logits, _scores(record, both, alpha, options["scale"]))
    outcome.facts |= {"alpha": alpha, "robust_run": mixture.robust.identity}
    outcome.machine = dict(record.machine)
    return lambda folder: None


def _scores(record: Record, both: Both, alpha: float, scale: float) -> dict[str, float]:
    from hype_bench.tasks.metrics import score

    labels, accurate, robust = both
    return score(record.label.metric, labels, mix(accurate, robust, alpha, scale).argmax(axis=1))


def _whole(run: RunStatus) -> Record:
    """Its record with all fields."""
    record = RunFolder(run.path).result()
    if record is None:
        raise UserError(f"{run.path} has no record any more")
    return record


def _trained_run(run: RunStatus) -> Path:
    """The folder of the run itself, or of the one that an analysis read."""
    return run.path.parent / str(_whole(run).facts.get("run", run.identity))


def _both(accurate: Path, robust: Path, title: str) -> dict[str, Both]:
    """Split -> labels, and the logits of both runs."""
    both: dict[str, Both] = {}
    others = read_logits(robust)
    for split, of in read_logits(accurate).items():
        other = others.get(split)
        if other is None or not np.array_equal(of.labels, other.labels):
            raise UserError(f"{title}: the two runs were not scored on the same examples of {split}")
        both[split] = of.labels.astype(np.int64), of.logits, other.logits
    return both
