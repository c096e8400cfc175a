"""The card of a trained model (its README.md): how it was trained, what it scores, and what that was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from hype_bench.options import UserError
from hype_bench.render.report import Experiment, read_experiment
from hype_bench.render.sheet import Sheet
from hype_bench.render.text import pieces
from hype_bench.render.writers import to_markdown
from hype_bench.runs.record import Record
from hype_bench.runs.secrets import scrub
from hype_bench.runs.writing import write_atomically
from hype_bench.sweeps.planned import ALL
from hype_bench.tables.cells import compact
from hype_bench.tables.compare import VERDICTS_ONLY, Compared, against_method
from hype_bench.tables.experiment import Place
from hype_bench.tables.rows import flat_settings

_BASELINE = "vanilla"
_ONE_RUN = "one run of one seed: another seed gives another score"
_SEEDS = (  # filled by replace: the names of rows may hold braces
    "mean ± std (n) over the seeds of all runs beside this one, on the same model and task; this model is one of "
    f"{{row}}; verdict: against {_BASELINE}, by a test over seeds and examples at ± 0.5 points, from 3 seeds on"
)


def write_card(run: Path, record: Record, compared: bool = False) -> None:
    """Puts ``README.md`` beside the weights of a run.

    Args:
        compared: whether its results folder is read for the other seeds and rows.
    """
    text = card_of(record, [_scores(record), *(_beside(run) if compared else ()), _recipe(record)])
    write_atomically(run / "model" / "README.md", scrub(text))


def card_of(record: Record, sheets: Sequence[Sheet]) -> str:
    """In Markdown, with the fields that the hub reads in front."""
    label = record.label
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(_fields(record), sort_keys=False)}---\n",
            f"# {label.model} on {label.task} with {label.method}\n",
            f"Fine-tuned with hype_bench: {', '.join(_techniques(record))}; seed {label.seed}.\n",
            to_markdown(sheets, ""),
            "",
        ]
    )


def _fields(record: Record) -> dict[str, object]:
    """Of what the hub indexes."""
    model = record.config.get("model", {})
    base = model.get("name_or_path") or model.get("checkpoint") or ""
    is_of_hub = ":" not in base and base.count("/") < 2 and not Path(base).exists()
    return {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        **({"base_model": base} if base and is_of_hub else {}),
        "tags": ["hype_bench", *record.label.method.split("+")],
        "metrics": list(record.scores.first),
    }


def _techniques(record: Record) -> Iterator[str]:
    for name, options in record.config.get("methods", {}).items():
        words = ", ".join(f"{key}={compact(str(value))}" for key, value in options.items())
        yield f"{name} ({words})" if words else name


def _scores(record: Record) -> Sheet:
    rows = [(name, [(f"{100 * score:.2f}", "", "")]) for name, score in record.scores.to_json().items()]
    notes = [_ONE_RUN, *(["the task is generated: scores say nothing of the real one"] * record.label.generated)]
    examples = ", ".join(f"{split} {n}" for split, n in record.scored_rows.items())
    notes += [f"scored examples: {examples}"] if examples else []
    return Sheet("scores of this model", [("x 100", "")], rows, notes, "", "split and metric")


def _beside(run: Path) -> Iterator[Sheet]:
    """The other rows on the same model and task, if there are runs of several rows or seeds."""
    try:
        read = read_experiment(run.parents[1], ALL, "paper")
        place = next(place for place, of in read.results.items() if run.name in of.shown.identity.tolist())
    except (UserError, StopIteration):  # records of two formats; a run that has only just ended
        return
    places = [other for other in read.results if other[::2] == place[::2]]
    if len(places) == 1 and read.results[place].cell.n == 1:
        return
    compared = _compared(read, places)
    rows = [
        (other[1].title, [pieces(read.results[other].cell), ("", "", _verdict(compared.get(other)))])
        for other in places
    ]
    columns = [(read.results[place].cell.metric, ""), ("verdict", "")]
    notes = [_SEEDS.replace("{row}", place[1].title)]
    yield Sheet("compared with", columns, rows, notes, "", "method")


def _compared(read: Experiment, places: list[Place]) -> dict[Place, Compared]:
    if _BASELINE not in [row.title for _, row, _ in places]:
        return {}
    return against_method(read.plan, {place: read.results[place] for place in places}, _BASELINE, VERDICTS_ONLY)


def _verdict(cell: Compared | None) -> str:
    return cell.verdict.word if cell and cell.measured.paired.n and not cell.measured.too_few else "-"


def _recipe(record: Record) -> Sheet:
    settings = {name: value for name, value in flat_settings(record).items() if value not in ("None", "null")}
    settings |= {name: version for name, version in record.versions.items() if name in ("torch", "transformers")}
    return Sheet(
        "recipe", [("value", "")], [(name, [(value, "", "")]) for name, value in settings.items()], [], "", "setting"
    )
