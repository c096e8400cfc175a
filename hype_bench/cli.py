"""``hype-bench``: the run and every other verb. ``status`` and ``table`` import no torch."""

from __future__ import annotations

import gc
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hype_bench import __version__
from hype_bench.options import UserError
from hype_bench.output import say, show, speak_any_encoding
from hype_bench.runs.secrets import scrub
from hype_bench.runs.status import DONE, FAILED, STATES, UNREADABLE, RunStatus, read_runs
from hype_bench.tables.selection import RULES
from hype_bench.tables.table import build_tables
from hype_bench.tables.text import FORMATS

# Plain help and plain complaints: rich's boxes cost time and break a line into several.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Format = StrEnum("Format", list(FORMATS))  # type: ignore[misc]
Rule = StrEnum("Rule", list(RULES))  # type: ignore[misc]
SoupKind = StrEnum("SoupKind", ["uniform", "greedy"])
ResultsDir = Annotated[Path, typer.Option(help="The folder that the runs were written to.", metavar="DIR")]


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"hype-bench {__version__}")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which one this is.")
    ] = False,
) -> None:
    """Fine-tunes encoders with regularisation techniques and compares them."""


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Fine-tune: one run, or with -m a sweep; hype-bench run --help says what can be chosen."""
    from hype_bench.main import main as start

    sys.argv = ["hype-bench run", *context.args]
    start()


@app.command()
def status(results_dir: ResultsDir = Path("results")) -> None:
    """What ran, what is running, what failed and why."""
    gc.disable()  # a short life: looking for garbage among 100,000 records takes longer than reading them
    runs = list(read_runs(_existing(results_dir)))
    counts = Counter(run.state for run in runs)
    total = f"{results_dir}: {len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    say(", ".join([total, *(f"{counts[state]} {state}" for state in STATES if counts[state])]))
    for line in _done(runs):
        say(f"  {DONE:<11}  {line}")
    for run in sorted(runs, key=lambda run: (STATES.index(run.state), run.title)):
        if run.state != DONE:
            say(f"  {run.state:<11}  {run.title}" + (f": {run.reason}" if run.reason else ""))
            if run.state == FAILED:
                say(f"{'':15}traceback: {run.path / 'failure.txt'}")
    if any(run.state == UNREADABLE for run in runs):
        raise typer.Exit(1)


@app.command()
def table(
    experiment: Annotated[str | None, typer.Argument(help="As in table1; without it, whatever lies there.")] = None,
    results_dir: ResultsDir = Path("results"),
    format: Annotated[Format, typer.Option(help="How it is written.")] = Format.text,  # type: ignore[attr-defined]
    rule: Annotated[Rule, typer.Option(help="What a search reports.")] = Rule.paper,  # type: ignore[attr-defined]
    compare: Annotated[
        str | None, typer.Option(help="paper, budget, or a row such as vanilla.", metavar="WITH")
    ] = None,
    intervals: Annotated[bool, typer.Option("--intervals", help="Also 95 % intervals of the means.")] = False,
) -> None:
    """Mean and std over seeds, of an experiment or of what is there."""
    gc.disable()  # as above
    _existing(results_dir)
    complaints: list[str] = []
    if experiment is None:
        if compare or intervals:
            raise UserError("--compare and --intervals need an experiment, as in hype-bench table table1 --intervals")
        runs = list(read_runs(results_dir))
        show(FORMATS[format.value](build_tables(runs)))
    else:
        from hype_bench.report import report, tabulate

        tabulated = tabulate(results_dir, experiment, rule.value)
        runs, written = list(tabulated.statuses.values()), report(tabulated, format.value, compare, intervals)
        complaints = written.complaints
        show(written.text)
    _tell_problems(runs, complaints, all_are_placed=experiment is not None)


@app.command(context_settings={"ignore_unknown_options": True})  # Hydra's flags are told apart below
def plan(
    overrides: Annotated[list[str], typer.Argument(help="As for run.py: experiment=table1 scope=smoke ...")],
) -> None:
    """What an experiment would run, what is done, and what it costs.

    Nothing is run.
    """
    from hype_bench.complaints import composing
    from hype_bench.plan import plan_of
    from hype_bench.sweeps.arguments import only_shows, to_plan
    from hype_bench.sweeps.outlook import plan_text
    from hype_bench.sweeps.planned import write_plan

    if only_shows(overrides):
        from hype_bench.main import main as start

        sys.argv = ["hype-bench plan", *(word for word in overrides if word not in ("-m", "--multirun"))]
        start()
        return
    with composing():
        planned, results_dir = plan_of(to_plan(overrides))
        write_plan(results_dir, planned)
        runs = {run.identity: run for run in read_runs(results_dir)}
        show(scrub(plan_text(planned, runs)))
    _tell_problems(runs.values(), [], all_are_placed=True)


@app.command()
def retry(results_dir: ResultsDir = Path("results")) -> None:
    """Run again, one after the other, what failed or was interrupted."""
    from hype_bench.again import retry as run_again

    if run_again(_existing(results_dir)):
        raise typer.Exit(1)


@app.command()
def clean(
    results_dir: ResultsDir = Path("results"),
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Really remove them.")] = False,
) -> None:
    """Remove what failed or was interrupted.

    Records, good or broken, are never touched.
    """
    from hype_bench.again import remove_incomplete

    if remove_incomplete(_existing(results_dir), really=incomplete):
        raise typer.Exit(1)


@app.command()
def submit(
    experiment: Annotated[str, typer.Argument(help="An experiment with data.predict_test=true, such as table12.")],
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="Which configuration.")] = Rule.paper,  # type: ignore[attr-defined]
    out: Annotated[Path, typer.Option(help="Where the zip files go.", metavar="DIR")] = Path("submissions"),
) -> None:
    """Write zip files for GLUE's test server, one per row."""
    from hype_bench.submission import submit as write_files

    written, refused = write_files(_existing(results_dir), experiment, rule.value, out)
    for line in written:
        say(line)
    _tell_problems([], refused, all_are_placed=True)


@app.command()
def publish(
    experiment: Annotated[str, typer.Argument(help="An experiment that has a plan, such as table1.")],
    results_dir: ResultsDir = Path("results"),
    rule: Annotated[Rule, typer.Option(help="What a search reports.")] = Rule.paper,  # type: ignore[attr-defined]
    project: Annotated[str, typer.Option(help="Of W&B, where its runs are.", envvar="WANDB_PROJECT")] = "hype_bench",
    entity: Annotated[str | None, typer.Option(help="Of W&B: a user or a team.", envvar="WANDB_ENTITY")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Also the runs that W&B has not seen.")] = False,
) -> None:
    """Send an experiment's table and workspace to W&B.

    Without a network or a key it writes what it would send, and says how to sync.
    """
    from hype_bench.publish import publish as send

    for line in send(_existing(results_dir), experiment, rule.value, project, entity, runs):
        say(line)


@app.command()
def soup(
    kind: Annotated[SoupKind, typer.Argument(help="Of all members, or of those that raise a held-out score.")],
    results_dir: ResultsDir = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Average the weights of finished runs.

    They are those with training.save=last that differ in seed or training settings alone.
    """
    from hype_bench.soup import make

    make(kind.value, _existing(results_dir), device)


@app.command()
def methods() -> None:
    """Every technique, with one line on what it does."""
    from hype_bench.methods.registry import cards  # seconds: torch comes with it

    for name, card in cards().items():
        say(f"{name:<20}{card.summary}")


def _done(runs: list[RunStatus]) -> list[str]:
    """Done runs by model, task and method, with their seeds in one line."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        if run.state == DONE and run.record is not None and (label := run.record.get("label")):
            seeds[f"{label['model']} {label['task']} {label['method']}"].append(int(label["seed"]))
    return [_with_seeds(name, found) for name, found in sorted(seeds.items())]


def _with_seeds(name: str, seeds: list[int]) -> str:
    distinct = sorted(set(seeds))
    words = f"{name}: {'seed' if len(distinct) == 1 else 'seeds'} {', '.join(map(str, distinct))}"
    return words if len(seeds) == len(distinct) else f"{words} ({len(seeds)} runs of differing settings)"


def _tell_problems(runs: Iterable[RunStatus], complaints: list[str], all_are_placed: bool) -> None:
    """Names every file that could not be read or is at fault.

    Args:
        complaints: about files for which a comparison is not whole.
        all_are_placed: whether the table has a cell for every run, whatever its files say.

    Raises:
        typer.Exit: with 1 if a run is in no cell for it, or may have a score that is not in its cell.
    """
    problems = [run for run in runs if run.problem]
    for run in problems:
        say(f"warning: {run.problem}", to=sys.stderr)
    for complaint in complaints:
        say(f"error: {scrub(complaint)}", to=sys.stderr)
    if complaints or any(run.state == UNREADABLE or not (all_are_placed or run.request) for run in problems):
        raise typer.Exit(1)


def _existing(results_dir: Path) -> Path:
    if not results_dir.is_dir():
        raise UserError(f"{results_dir}: no such folder; name another one with --results-dir")
    return results_dir


def main() -> None:
    speak_any_encoding()
    try:
        app()
    except (UserError, OSError) as error:
        say(f"error: {scrub(str(error))}", to=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from error


if __name__ == "__main__":
    main()
