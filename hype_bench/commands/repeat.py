"""``hype-bench repeat``: does a run give the same numbers once more?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from hype_bench.arguments import ResultsDir, existing
from hype_bench.options import UserError
from hype_bench.output import counted, say

if TYPE_CHECKING:
    from hype_bench.runs.record import Record
    from hype_bench.runs.status import RunStatus


def repeat(
    run: Annotated[str, typer.Argument(help="The name of its folder, or how that begins.", metavar="RUN")],
    results_dir: ResultsDir = Path("results"),
) -> None:
    """Run a finished run again from its record alone, and say whether every number came out the same.

    Nothing is written to the results folder. The exit code is 1 if a number differs.
    """
    from hype_bench.tables.two_runs import find_run

    status, record = find_run(existing(results_dir).absolute(), run)
    directory = Path(record.working_directory or ".")
    if not directory.is_dir():
        raise UserError(f"{status.title}: its working directory does not exist: {directory}")
    with TemporaryDirectory() as folder, chdir(directory):  # relative paths keep their meaning
        again = _run(record, Path(folder))
        differences = list(_differences((status, record), again))
    for line in differences:
        say(line)
    if differences:
        raise typer.Exit(1)
    numbers = f"{counted(len(record.scores.to_json()), 'score')}, {counted(len(record.curve), 'point')} of the curve"
    say(f"{status.title}: every number came out the same ({numbers}, and all predictions)")


def _run(record: Record, folder: Path) -> tuple[RunStatus, Record]:
    """The same run with a record below that folder; nothing goes to a tracker."""
    from hype_bench.launch.main import one_line_errors, run_alone
    from hype_bench.launch.rebuild import rebuild
    from hype_bench.tables.two_runs import find_run

    with one_line_errors():
        composed = rebuild(record, folder)
        composed.tracker.name, composed.training.save = "none", "none"
        result = run_alone(composed)
    return find_run(folder, result.identity)


def _differences(before: tuple[RunStatus, Record], again: tuple[RunStatus, Record]) -> Iterator[str]:
    """What is not the same, a line each."""
    (old, record), (new, repeated) = before, again
    if old.identity != new.identity:
        yield f"it is a different run now, {new.identity}: its data, checkpoint or code have changed"
    if record.device != repeated.device:
        yield f"device: {repeated.device} now, {record.device} then"
    if record.status != repeated.status:
        yield f"status: {repeated.status} now, {record.status} then"
    then, now = record.scores.to_json(), repeated.scores.to_json()
    for name in dict.fromkeys([*then, *now]):
        if repr(then.get(name)) != repr(now.get(name)):  # NaN is as it was
            yield f"{name}: {now.get(name)} now, {then.get(name)} then"
    changed = [
        n
        for n, points in enumerate(zip(record.curve, repeated.curve, strict=False))
        if repr(points[0]) != repr(points[1])
    ]
    if changed or len(record.curve) != len(repeated.curve):
        first = f", first at update {record.curve[changed[0]].get('update')}" if changed else ""
        yield f"the curve differs{first}"
    files = [status.path / "predictions.csv" for status in (old, new)]
    if record.predictions and len({path.read_bytes() if path.is_file() else b"" for path in files}) > 1:
        yield "predictions.csv differs"
