"""The answer of an experiment in words: does each technique help, and what is its gain made of?"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from hype_bench.controls import VANILLA, Control
from hype_bench.options import UserError
from hype_bench.output import counted
from hype_bench.render.paired import CORRECTION_NAMES, TOO_FEW, paired_numbers, power, remarks
from hype_bench.render.report import Experiment
from hype_bench.render.sheet import Pieces, Sheet, difference, p_value
from hype_bench.render.table_csv import difference_numbers, number
from hype_bench.render.writers import WRITERS
from hype_bench.stats.verdict import HELPS, HURTS, NO_DIFFERENCE, UNDECIDED, Verdict
from hype_bench.sweeps.planned import Plan
from hype_bench.tables.answer import Answer, Missing, answers
from hype_bench.tables.compare import Compared, Criteria
from hype_bench.tables.notes import conditional_on
from hype_bench.tables.table import is_further

FORMATS = (*WRITERS, "json")
_CORNER = "method against control"
_NOTE = (
    "no difference: shown to lie within ± {margin} points (--margin; two one-sided tests); else helps or hurts: shown "
    "not to be 0; else undecided. Differences are paired by seed and tested over seeds and examples at once; p is "
    "adjusted by {correction} for all that is compared with one control on a task; detectable: the smallest true "
    "difference in points that so many seeds find in 80 % of the cases; more seeds: how many more would find one of "
    "the margin; at any time: what a test over seeds allows that may be stopped after any, from 5 on; time, memory: of "
    "training"
)


def write_answer(
    plan: Plan, answers: Sequence[Answer], missing: Sequence[Missing], criteria: Criteria, format: str
) -> str:
    """In one of :data:`FORMATS`: the verdicts over tasks, a sentence on what each gain is made of, then each task."""
    if format == "json":
        return _json(plan, answers, missing, criteria)
    return WRITERS[format](answer_sheets(plan, answers, missing, criteria), f"{plan.key}. {answer_note(criteria)}")


def answer_sheets(plan: Plan, answers: Sequence[Answer], missing: Sequence[Missing], criteria: Criteria) -> list[Sheet]:
    """For each block the verdicts over all tasks, and those on each task."""
    sheets = []
    for block, of_block in groupby(answers, lambda answer: answer.block):
        members, absent = list(of_block), [missing_text(plan, each) for each in missing if each.block == block]
        notes = [*sentences(members), *_searches(plan, members), *absent]
        sheets += [_over_tasks(block, members, notes, criteria), _on_tasks(block, members, criteria)]
    return sheets


def answer_note(criteria: Criteria) -> str:
    """What the four words and the columns mean."""
    return _NOTE.format(margin=f"{100 * criteria.margin:g}", correction=CORRECTION_NAMES[criteria.correction])


def answers_of(
    experiment: Experiment, criteria: Criteria, against: str | None = None
) -> tuple[list[Answer], list[Missing]]:
    """Every row of an experiment against vanilla and the controls that its techniques' cards name.

    Args:
        against: the only technique to compare with, in place of these.

    Raises:
        UserError: there is no such technique.
    """
    controls = own_controls()
    if against is not None and against not in controls:
        raise UserError(f"--against={against}: there is no such method; hype-bench methods lists them")
    only = None if against is None else Control(against)
    return answers(experiment.results, controls, criteria, only)


def nothing_to_answer(experiment: Experiment, missing: Sequence[Missing]) -> str:
    """Why there is no answer, and the way out."""
    plan, metrics = experiment.plan, {result.cell.metric for result in experiment.results.values()}
    if missing:
        return missing_text(plan, missing[0])
    if experiment.results and not any(result.cell.is_fraction for result in experiment.results.values()):
        return (
            f"{plan.key} measures {', '.join(sorted(metrics))}, of which neither more nor less is better: "
            f"hype-bench table {plan.key} --compare {VANILLA.method} shows the differences"
        )
    return f"{plan.key} has no technique to compare with another"


def own_controls() -> dict[str, Mapping[Control, str]]:
    """Technique -> the controls that its card names, each with what it shares."""
    from hype_bench.contract.registry import cards  # torch comes with it

    return {name: card.controls for name, card in cards().items()}


def _over_tasks(block: str, answers: Sequence[Answer], notes: list[str], criteria: Criteria) -> Sheet:
    tasks = {task for answer in answers for task in answer.tasks if not is_further(task)}
    rows = []
    for answer in answers:
        ratios = (answer.time, answer.memory)
        prices: list[Pieces] = [("-" if math.isnan(ratio) else f"{ratio:.2f}", "", "") for ratio in ratios]
        rows.append((_title(answer), [*_pieces(answer.overall, answer.overall.difference.seeds), *prices]))
    columns = [*_columns(criteria), ("time", "x control"), ("memory", "x control")]
    kind = f"over {counted(len(tasks), 'task')}, model"
    return Sheet(block, columns, rows, notes, kind, _CORNER)


def _on_tasks(block: str, answers: Sequence[Answer], criteria: Criteria) -> Sheet:
    cells = [(f"{_title(answer)}, {task}", cell) for answer in answers for task, cell in answer.tasks.items()]
    rows = [(title, [*_pieces(cell.verdict, cell.measured.paired.n), _decision(cell)]) for title, cell in cells]
    columns = [*_columns(criteria), ("at any time", "after seeds")]
    notes = remarks(cells)
    drawn = {task for answer in answers for task, cell in answer.tasks.items() if cell.measured.one_subset}
    notes += [conditional_on(sorted(drawn))] if drawn else []
    notes += [TOO_FEW] * any(cell.measured.too_few for _, cell in cells)
    return Sheet(block, columns, rows, notes, "on each task, model", _CORNER)


def _decision(cell: Compared) -> Pieces:
    decision = cell.decision
    return "", "", decision.word if decision.word == UNDECIDED else f"{decision.word} ({decision.seeds})"


def _title(answer: Answer) -> str:
    return f"{answer.row.title} against {answer.control.title}"


def _columns(criteria: Criteria) -> list[tuple[str, str]]:
    return [
        ("verdict", f"± {100 * criteria.margin:g}"),
        ("difference", "95 % interval"),
        ("p", CORRECTION_NAMES[criteria.correction]),
        ("seeds", ""),
        ("detectable", "more seeds"),
    ]


def _pieces(verdict: Verdict, seeds: int) -> list[Pieces]:
    test = verdict.difference
    return [
        ("", "", verdict.word),
        difference(test.mean, *test.interval()),
        (p_value(verdict.p), "", ""),
        (str(seeds), "", ""),
        power(verdict),
    ]


def sentences(answers: Iterable[Answer]) -> list[str]:
    """What the gains are made of, of techniques with a control of their own."""
    texts = []
    for (_, row), of_row in groupby(answers, lambda answer: (answer.block, answer.row)):
        vanilla, *others = sorted(of_row, key=lambda answer: answer.control != VANILLA)
        if vanilla.control == VANILLA:
            known = [each for each in others if not math.isnan(vanilla.gain + each.gain)]
            texts += [f"{row.title}: {made_of(vanilla, other)}" for other in known]
    return texts


def made_of(vanilla: Answer, other: Answer) -> str:
    """``+9.61 over vanilla (helps); equal to no_dropout within 0.10: the gain is the missing dropout``."""
    gain, test = vanilla.overall, other.overall.difference
    mean, beside = f"{100 * test.mean:+z.2f}", other.control.title
    first = f"{100 * gain.difference.mean:+z.2f} over vanilla ({gain.word})"
    if other.overall.word == NO_DIFFERENCE:
        within = 100 * max(map(abs, test.interval(0.9)))
        what = {HELPS: f": the gain is {other.shares}", HURTS: f": the loss is {other.shares}"}.get(gain.word, "")
        return f"{first}; equal to {beside} within {within:.2f}{what}"
    if other.overall.word == UNDECIDED:
        return f"{first}; {mean} over {beside}: whether it does more than {other.shares} is undecided"
    more = f": it does more than {other.shares}" if other.overall.word == HELPS else ""
    return f"{first}; {mean} over {beside} ({other.overall.word}){more}"


def _searches(plan: Plan, answers: Iterable[Answer]) -> list[str]:
    """Where one side had the choice of more configurations than the other."""
    return [
        f"{_title(answer)}: the best of {row} and of {counted(control, 'configuration')}; unequal searches favour the "
        f"longer one: hype-bench table {plan.key} --compare {shlex.quote(answer.control.method)} shows equal ones"
        for answer in answers
        for row, control in [answer.searched]
        if row != control
    ]


def missing_text(plan: Plan, missing: Missing) -> str:
    """Which control was not run, and what runs it."""
    what = f"{missing.row.title}: {missing.control.title} was not run on {', '.join(missing.tasks)}"
    if missing.control.epochs != 1:
        epochs = f"training.epochs: [{missing.control.epochs} times as many]"
        return f"{what}; a grid of the experiment that has it: {{method: [{missing.control.method}], {epochs}}}"
    methods = dict.fromkeys(run.method for run in plan.runs) | {missing.control.method: None}
    chosen = ",".join(f"[{method.replace('+', ',')}]" if "+" in method else method for method in methods)
    words = [word for word in plan.command.split() if not word.startswith("method=")]
    return f"{what}: {' '.join(words)} {shlex.quote(f'method={chosen}')}"


def _json(plan: Plan, answers: Sequence[Answer], missing: Sequence[Missing], criteria: Criteria) -> str:
    """Fractions, as in the CSV of tables; what is not a number is null."""
    content = {
        "experiment": plan.key,
        "margin_fraction": criteria.margin,
        "family": criteria.family,
        "correction": criteria.correction,
        "answers": [_numbers(answer) for answer in answers],
        "sentences": [*sentences(answers), *_searches(plan, answers)],
        "missing": [missing_text(plan, each) for each in missing],
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _numbers(answer: Answer) -> dict[str, object]:
    overall = answer.overall
    more = overall.more_seeds
    return {
        "model": answer.block,
        "method": answer.row.title,
        "control": answer.control.title,
        "verdict": overall.word,
        **difference_numbers(overall.difference.mean, *overall.difference.interval()),
        "p_adjusted": number(overall.p),
        "seeds": overall.difference.seeds,
        "detectable_fraction": number(overall.detectable),
        "more_seeds": None if math.isinf(more) else number(more),
        "time": number(answer.time),
        "memory": number(answer.memory),
        "tasks": {task: paired_numbers(cell) for task, cell in answer.tasks.items()},
    }
