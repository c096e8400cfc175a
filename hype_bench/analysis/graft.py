"""``hype-bench graft``: puts the weights that moved most into the pre-trained model, and scores it."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from hype_bench.analysis.editing.members import Members, single_runs
from hype_bench.analysis.editing.record import Edit, edit_weights
from hype_bench.arguments import Adversarial, Device, ResultsDir, Save, existing, numbers
from hype_bench.options import UserError
from hype_bench.output import counted, say

if TYPE_CHECKING:  # torch comes with them
    from hype_bench.analysis.editing.members import State
    from hype_bench.tasks.data import Split

GRID = "0.0001,0.001,0.01,0.03,0.1,0.3,1"
RATE = 1e7  # as published
_EXAMPLES = 1024  # of an epoch: 128 batches of 8


def graft(
    share: Annotated[str, typer.Option(help="Shares of the weights that are grafted, above 0 up to 1.")] = GRID,
    epochs: Annotated[
        int, typer.Option(min=0, help="Train the mask for so many epochs; 0: it is what moved most.")
    ] = 0,
    rate: Annotated[float, typer.Option(help="The learning rate of the mask's scores.")] = RATE,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Say instead how much the masks of different tasks share.")
    ] = False,
    results_dir: ResultsDir = Path("results"),
    adversarial: Adversarial = False,
    save: Save = False,
    device: Device = "auto",
) -> None:
    """Graft the weights that moved most onto the pre-trained model.

    All others go back to their start. The score as a function of the share says in how many weights the gain of
    fine-tuning lies. Every share gives a record, a row of `hype-bench table`; its facts say in which layers the entries
    are, and the expected calibration error (ece) of each split, to be held against analysis=calibration of the run.

    With --epochs the mask is trained from there: gradient descent on the training loss of the softly grafted model,
    without dropout, one step for each epoch of 1,024 training examples. Of the mask at the start and after each epoch
    the best on training examples that were set aside (data.selection_examples) is kept, of equals the earliest.

    With --overlap nothing is grafted: it says which share of the entries that moved most on one task did so on another,
    for runs of the same model, technique and seed. By chance it is the share that is looked at.

    Claim: a small part of the weights carries nearly all of the gain.

    Source: Panigrahi et al. 2023, "Task-specific skill localization in fine-tuned language models", ICML,
    https://arxiv.org/abs/2302.06600; code: abhishekpanigrahi1996/Skill-Localization-by-grafting, commit 76f4aa8. Its
    base mask is the entries of the encoder that moved most: strictly further than the last one of the share, as
    released. There the mask is chosen on training and development examples together; here the development set is not
    seen. Its rate of 1e7 was found for few-shot runs with SGD: the record says how many entries training added and
    dropped. Adam moves nearly all weights by like amounts, so expect larger shares than the paper's 0.01 %. Head and
    pooler stay as fine-tuned: a new head has no start.

    Cost: one scoring of every split for each share; with --epochs, a pass with gradients over 1,024 examples and a
    scoring of those set aside for each epoch.
    """
    shares = numbers("share", share, above=0, most=1)
    (rate,) = numbers("rate", str(rate), above=0)
    runs = single_runs(existing(results_dir), device)
    if overlap:
        for line in _overlaps(runs, shares):
            say(line)
        return
    training = {"epochs": epochs, "rate": rate} if epochs else {}
    edits = (Edit(members, "graft", {"share": part, **training}) for members in runs for part in shares)
    edit_weights(edits, _grafted, results_dir, save, adversarial)


def _grafted(edit: Edit) -> tuple[State, dict[str, Any]]:
    from hype_bench.analysis.editing.mask import put_in

    members, end = edit.members, edit.members.weights()
    masks = base = _moved_most(members, edit.options["share"])
    facts: dict[str, Any] = {}
    if "epochs" in edit.options:
        masks, facts = _trained(edit, end, base)
    entries: Counter[str] = Counter()
    for name, mask in masks.items():
        entries[_place(members.depths.get(name, 0))] += int(mask.sum())
    facts |= {"entries": entries.total(), "entries_of": dict(entries)}
    return put_in(members.start, end, masks), facts


def _trained(edit: Edit, end: State, base: State) -> tuple[State, dict[str, Any]]:
    """The best mask on the examples that were set aside, and facts of its training."""
    from hype_bench.analysis.editing.mask import initial_scores, put_in, trained_masks

    members = edit.members
    start, scorer, train, aside = members.start, members.scorer, members.data.train, members.data.selection
    if aside is None:
        raise UserError(f"{edit.title}: its mask is chosen on training examples set aside; data.selection_examples=200")
    draws = np.random.default_rng(members.seed)

    def gradients(state: State) -> State:
        return scorer.gradients(state, _part(train, np.sort(draws.permutation(len(train))[:_EXAMPLES])))

    scores = initial_scores(base, end, members.seed)
    after = trained_masks(start, end, base, scores, gradients, edit.options["epochs"], edit.options["rate"])
    best, masks, heldout = -np.inf, base, list[float]()
    for candidate in itertools.chain([base], after):
        heldout.append(scorer.headline(put_in(start, end, candidate), aside))
        if heldout[-1] > best:
            best, masks = heldout[-1], candidate
    added, dropped = (sum(int((a[n] & ~b[n]).sum()) for n in base) for a, b in ((masks, base), (base, masks)))
    return masks, {"heldout": heldout, "epoch": heldout.index(best), "added": added, "dropped": dropped}


def _part(split: Split, chosen: np.ndarray[Any, Any]) -> Split:
    texts = tuple([column[i] for i in chosen] for column in split.texts)
    return replace(split, texts=texts, labels=split.labels[chosen], rows=split.rows[chosen])


def _overlaps(runs: Iterable[Members], shares: list[float]) -> Iterator[str]:
    """A line for each share and pair of tasks."""
    from hype_bench.analysis.editing.mask import overlap

    alike: dict[tuple[str, str, int], list[Members]] = defaultdict(list)
    for members in runs:
        label = members.first.label
        alike[label.model, label.method, label.seed].append(members)
    values: dict[tuple[str, str, float, str, str], list[float]] = defaultdict(list)
    for part, ((model, method, _), several) in itertools.product(shares, alike.items()):
        masks = [(each.first.label.task, _moved_most(replace(each), part)) for each in several]  # keeps no weights
        for (task, mask), (other, other_mask) in itertools.combinations(sorted(masks, key=lambda of: of[0]), 2):
            if task != other:
                values[model, method, part, task, other].append(overlap(mask, other_mask))
    if not values:
        raise UserError("no runs with weights differ in the task alone: there is no overlap of masks between tasks")
    for (model, method, part, task, other), shared in sorted(values.items()):
        yield f"{model} {method}, share {part:g}: {task} and {other} {mean(shared):.4f} ({counted(len(shared), 'run')})"


def _moved_most(members: Members, share: float) -> State:
    from hype_bench.analysis.editing.mask import moved_most

    return moved_most(members.start, members.weights(), share, members.above)


def _place(depth: int) -> str:
    return f"layer {depth}" if depth else "embeddings"
