"""The answer as the page gives it: a word and a sentence for every technique, and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hype_bench.controls import VANILLA
from hype_bench.render.answer import answer_note, answer_sheets, answers_of, nothing_to_answer, sentences
from hype_bench.render.page.pictures import MOST, inline
from hype_bench.render.plots.answer import figures
from hype_bench.render.report import Experiment
from hype_bench.runs.status import DONE
from hype_bench.stats.verdict import UNDECIDED, Verdict
from hype_bench.tables.answer import Answer
from hype_bench.tables.compare import VERDICTS_ONLY
from hype_bench.tables.table import is_further


@dataclass(frozen=True)
class Sentence:
    """``word``: the verdict against vanilla over all tasks; ``text``: the effect, and what it is made of."""

    word: str
    text: str


def answer_context(experiment: Experiment) -> dict[str, Any]:
    """What the template shows of an answer; its ``complaints`` are about damaged files."""
    is_done = any(status.state == DONE for status in experiment.statuses.values())
    answers, missing = answers_of(experiment, VERDICTS_ONLY) if is_done else ([], [])
    name = experiment.plan.key
    cells = [cell for answer in answers for cell in answer.tasks.values()]
    pictures = figures(name, answers, VERDICTS_ONLY, MOST)
    return {
        "sentences": list(_sentences(answers)),
        "sheets": answer_sheets(experiment.plan, answers, missing, VERDICTS_ONLY),
        "missing": "" if answers or not is_done else nothing_to_answer(experiment, missing),
        "note": answer_note(VERDICTS_ONLY),
        "pictures": [inline(drawn, f"{name} answer {which}") for which, drawn in pictures.items()],
        "complaints": list(dict.fromkeys(text for cell in cells for text in cell.measured.complaints)),
    }


def _sentences(answers: Sequence[Answer]) -> Iterator[Sentence]:
    several = len({answer.block for answer in answers}) > 1
    for (block, row), of_row in groupby(answers, lambda answer: (answer.block, answer.row)):
        members = list(of_row)
        against = next((answer for answer in members if answer.control == VANILLA), members[0])
        verdict, mean = against.overall, 100 * against.overall.difference.mean
        effect = _without_pairs(against) if math.isnan(mean) else f"{mean:+z.2f} over {against.control.title}"
        for text in sentences(members) or [f"{row.title}: {effect}"]:
            yield Sentence(verdict.word, f"{block}: " * several + text + _open(verdict))


def _without_pairs(answer: Answer) -> str:
    """Why there is no mean over tasks, and what is known of the others."""
    tasks = {task: cell for task, cell in answer.tasks.items() if not is_further(task)}
    known = [f"{cell.verdict.word} on {task}" for task, cell in tasks.items() if cell.measured.paired.n]
    lacking = [task for task, cell in tasks.items() if not cell.measured.paired.n]
    return "; ".join([f"no pairs of runs on {', '.join(lacking)} yet", *known])


def _open(verdict: Verdict) -> str:
    """What an undecided comparison could have shown."""
    if verdict.word != UNDECIDED or math.isnan(verdict.detectable):
        return ""
    return f"; {verdict.difference.seeds} seeds show a difference from {100 * verdict.detectable:.2f} points on"
