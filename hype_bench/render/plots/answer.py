"""Forest plot of an answer: every row against each of its controls, over all tasks and on each of them.

A figure for all tasks and one per task; a line per control, the effect with its 95 % interval, the margin shaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hype_bench.controls import VANILLA
from hype_bench.options import UserError
from hype_bench.render.answer import answers_of, nothing_to_answer
from hype_bench.render.plots.style import BLUE, ORANGE, SMALL, baseline, beside, interval, reason, rows
from hype_bench.render.report import Experiment
from hype_bench.runs.status import DONE
from hype_bench.stats.verdict import Verdict
from hype_bench.tables.answer import Answer
from hype_bench.tables.compare import VERDICTS_ONLY, Criteria

_OVERALL = "over all tasks"
_NOTE = "blue: against vanilla; vermilion: against the control that isolates the technique; shaded: ± {margin:g} points"


def draw(experiment: Experiment, criteria: Criteria = VERDICTS_ONLY) -> dict[str, Figure]:
    """Nothing while no run is done. Raises UserError where nothing can be compared."""
    answers, missing = answers_of(experiment, criteria)
    if not answers:
        raise UserError(nothing_to_answer(experiment, missing))
    if all(status.state != DONE for status in experiment.statuses.values()):
        return {}
    return figures(experiment.plan.key, answers, criteria)


def figures(name: str, answers: Iterable[Answer], criteria: Criteria, most: float = math.inf) -> dict[str, Figure]:
    """``block over all tasks`` or ``block task`` -> figure.

    Args:
        name: of the experiment.
        answers: those of a block beside one another.
        most: if there are more of single tasks, these are left out.
    """
    answers = list(answers)
    too_many = len({(answer.block, task) for answer in answers for task in answer.tasks}) > most
    drawn = {}
    for block, of_block in groupby(answers, lambda answer: answer.block):
        members = list(of_block)
        tasks = list(dict.fromkeys(task for answer in members for task in answer.tasks))
        single = [] if too_many and len(tasks) > 1 else tasks
        for task in [_OVERALL, *single] if len(tasks) > 1 else single:
            of_task = [answer for answer in members if task in (*answer.tasks, _OVERALL)]
            verdicts = [each.overall if task == _OVERALL else each.tasks[task].verdict for each in of_task]
            drawn[f"{block} {task}"] = _figure(f"{name}, {block}: {task}", of_task, verdicts, criteria.margin)
    return drawn


def _figure(heading: str, answers: Sequence[Answer], verdicts: Sequence[Verdict], margin: float) -> Figure:
    names = [_name(answer, answers[n - 1] if n else None) for n, answer in enumerate(answers)]
    figure, panel = rows(names, heading, _NOTE.format(margin=100 * margin))
    panel.axvspan(-100 * margin, 100 * margin, color=BLUE, alpha=0.15, linewidth=0)
    baseline(panel, 0)
    for y, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True)):
        _line(panel, y, verdict, BLUE if answer.control == VANILLA else ORANGE)
    panel.set_xlabel("points above the control", fontsize=SMALL)
    return figure


def _name(answer: Answer, above: Answer | None) -> str:
    """The row's title, once; the control, unless it is vanilla."""
    control = answer.control
    title = "" if above and above.row == answer.row else answer.row.title
    if control == VANILLA:
        return title
    epochs = f", {control.epochs} x epochs" if control.epochs != 1 else ""
    return f"{title} against {control.method}{epochs}".strip()


def _line(panel: Axes, y: float, verdict: Verdict, color: str) -> None:
    difference = verdict.difference
    if math.isnan(difference.mean):
        reason(panel, y, "no pairs of runs")
        return
    low, high = difference.interval()
    interval(panel, y, 100 * difference.mean, None if math.isnan(low) else (100 * low, 100 * high), color)
    beside(panel, y, verdict.word)
