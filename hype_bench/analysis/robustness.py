"""Robustness: accuracy on adversarial examples of the task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hype_bench.analysis.measuring.form import Analysis, Measured
from hype_bench.analysis.measuring.scored_data import scored_data
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.config import RunConfig, SourceConfig, TaskConfig
from hype_bench.options import UserError
from hype_bench.tasks.data import Split, TaskData

SETS = {  # task -> the sets of AdvGLUE, beside each of the task's own evaluation splits
    "sst2": ("adv_sst2",),
    "mnli": ("adv_mnli", "adv_mnli_mismatched"),
    "rte": ("adv_rte",),
    "qnli": ("adv_qnli",),
    "qqp": ("adv_qqp",),
}
_NAMES = (("adversarial", "clean", "drop"), ("mismatched", "clean_mismatched", "drop_mismatched"))


@dataclass(frozen=True)
class Robustness(Analysis):
    """Accuracy on the adversarial examples of AdvGLUE, and the drop from the task's own development set.

    The first score is the accuracy on AdvGLUE's development set; beside it stand ``clean``, the accuracy on the task's
    own, and ``drop``, the first minus the second: below 0 as far as the examples fool the model. MNLI has all three
    again for the mismatched examples. It is plain accuracy for every task, as in Table 6 of the HyPe paper, of which
    the HyPe row is k / (3 x examples) for whole k throughout.

    Claim: a technique that smooths the encoder keeps more of its accuracy when inputs are perturbed to fool it.

    Source: Wang et al. 2021, "Adversarial GLUE", NeurIPS Datasets and Benchmarks, https://arxiv.org/abs/2111.02840;
    Yuan et al. 2023, "HyPe", ACL, section 5.3 and Table 6, https://aclanthology.org/2023.acl-long.182

    Cost: the run, if its weights were not kept; 78 to 283 examples are scored beside the development set.
    """

    def check(self, run: RunConfig) -> None:
        if run.task.name not in SETS:
            raise UserError(
                f"analysis=robustness: AdvGLUE has no set for task {run.task.name}; it has {', '.join(SETS)}"
            )

    def data(self, run: RunConfig) -> list[TaskData]:
        return [scored_data(adversarial_task(run.task, name), run) for name in SETS[run.task.name]]

    def measure(self, trained: Trained) -> Measured:
        measured = Measured()
        clean = {split.name: split for split in trained.data.evaluation}
        own = [*trained.run.task.evaluation_splits, ""]
        for names, adversarial, name in zip(_NAMES, trained.further, own, strict=False):
            _compare(trained, measured, names, adversarial.evaluation[0], clean.get(name))
        return measured


def _compare(
    trained: Trained, measured: Measured, names: tuple[str, str, str], adversarial: Split, clean: Split | None
) -> None:
    """Scores both under the first two names, their difference under the third."""
    for name, split in zip(names, (adversarial, clean), strict=False):
        if split is not None:
            measured.add(replace(split, name=name), trained.evaluate(split, "accuracy"))
    if clean is not None:
        attacked, untouched = (measured.scores[name]["accuracy"] for name in names[:2])
        measured.scores[names[2]] = {"accuracy": attacked - untouched}


def adversarial_task(task: TaskConfig, name: str) -> TaskConfig:
    source = SourceConfig(hub="AI-Secure/adv_glue", config=name, folder=f"adv_glue/{name}")
    return replace(task, name=name, source=source, metric="accuracy", evaluation_splits=["validation"], test_splits=[])
