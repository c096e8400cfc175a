"""What an experiment publishes: its tables as a page and as CSV, and a figure of each block, in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hype_bench.render import table_csv
from hype_bench.render.comparisons import compare
from hype_bench.render.figure import figure
from hype_bench.render.report import Experiment, report
from hype_bench.runs.secrets import scrub
from hype_bench.runs.writing import file_name, write_atomically, writing_to
from hype_bench.tables.beside_paper import PAPER, against_paper


@dataclass(frozen=True)
class Publication:
    """``folder``: where it lies; ``rows``: of the CSV; ``page``: HTML. Neither has a key or a token in it."""

    experiment: Experiment
    folder: Path
    rows: list[dict[str, object]]
    page: str

    @property
    def figures(self) -> dict[str, Path]:
        """block -> its file."""
        return {table.model: self.folder / f"{file_name(table.model)}.png" for table in self.experiment.tables}

    def write(self) -> None:
        """Writes table.html, table.csv and the figures.

        Raises:
            UserError: the folder cannot be written to.
        """
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "table.html", self.page)
            write_atomically(self.folder / "table.csv", table_csv.to_csv(self.rows))
            self._draw()

    def _draw(self) -> None:
        plan = self.experiment.plan
        paper = against_paper(plan, self.experiment.results) if plan.table is not None else {}
        for table in self.experiment.tables:
            of_block = {place: cell for place, cell in paper.items() if place[0] == table.model}
            drawn = figure(table, of_block, scrub(f"{plan.key}: {table.model}"), f"paper, Table {plan.table}")
            drawn.savefig(self.figures[table.model])


def publication(results_dir: Path, experiment: Experiment) -> Publication:
    """An experiment's tables, beside the paper's if it regenerates one of its tables."""
    plan = experiment.plan
    baseline = None if plan.table is None else PAPER
    columns = compare(plan, experiment.results, baseline).columns
    rows = [
        {name: scrub(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in table_csv.cell_rows(experiment.tables, experiment.results, columns)
    ]
    page = scrub(report(experiment, "html", baseline, intervals=True).text)
    return Publication(experiment, results_dir / "publish" / plan.key, rows, page)
