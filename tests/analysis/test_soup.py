"""``hype-bench soup`` on the runs of a sweep, as a user makes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from hype_bench.analysis.editing.members import groups
from hype_bench.analysis.soup import make_soups, soup_of
from hype_bench.options import UserError
from tests.analysis.conftest import SWEEP
from tests.conftest import Warm


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("results/runs/*/result.json"))]


@pytest.mark.parametrize("kind", ["uniform", "greedy"])
def test_a_soup_stands_in_the_table_beside_its_members(kind: str, place: Path, warm: Warm) -> None:
    ended = warm("soup", kind, program="hype_bench.cli")
    assert ended.returncode == 0, ended.stderr
    assert f"done: tiny_bert demo_rte vanilla+soup_{kind} of 3 runs: accuracy" in ended.stdout
    (soup,) = [record for record in records(place) if record["label"]["method"] == f"vanilla+soup_{kind}"]
    weights = {path.parent.name: load_file(path / "model.safetensors") for path in place.glob("results/runs/*/model")}
    members = soup["facts"]["members"]
    own = next(name for name in weights if name not in {r for r in members} and name in str(sorted(weights)))
    assert 1 <= len(members) <= 3
    soups = [name for name in weights if is_mean(weights[name], [weights[m] for m in members])]
    assert len(set(soups) - set(members if len(members) == 1 else ())) == 1, own
    table = warm("table", program="hype_bench.cli").stdout
    assert f"vanilla+soup_{kind}" in table
    assert "data.selection_examples=30" in table
    again = warm("soup", kind, program="hype_bench.cli")
    assert again.stdout.startswith("done before: ")


def is_mean(weights: Any, members: list[Any]) -> bool:
    return all(
        abs(float((weights[key] - sum(m[key] for m in members) / len(members)).abs().max())) < 1e-6 for key in weights
    )


def test_a_greedy_soup_is_scored_on_rows_that_no_run_saw(place: Path, warm: Warm) -> None:
    warm("soup", "greedy", program="hype_bench.cli")
    (soup,) = [record for record in records(place) if "soup_greedy" in record["label"]["method"]]
    assert 0 <= soup["facts"]["selection_score"] <= 1
    assert soup["facts"]["selection_score"] * 30 == pytest.approx(round(soup["facts"]["selection_score"] * 30))


def test_what_a_soup_cannot_be_made_of(warm: Warm, tmp_path: Path) -> None:
    def complaint(*arguments: str) -> str:
        ended = warm(*arguments, program="hype_bench.cli")
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        return ended.stderr

    assert "no such folder" in complaint("soup", "uniform")
    assert warm(*SWEEP).returncode == 0
    assert "train with data.selection_examples" in complaint("soup", "greedy")
    for path in tmp_path.glob("results/runs/*/model"):
        shutil.rmtree(path)
    assert "no two runs with weights" in complaint("soup", "uniform")


def test_a_soup_of_changed_weights_is_not_made(place: Path) -> None:
    changed = sorted(place.glob("results/runs/*/model/model.safetensors"))[0]
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    with pytest.raises(UserError, match=f"^{changed.parents[1]} does not hold the weights that it saved"):
        make_soups("uniform", place / "results", say=lambda line: None)
    assert len(list(place.glob("results/runs/*"))) == 3


def test_a_soup_that_another_process_makes_is_one_line(place: Path) -> None:
    (members,) = groups(place / "results")
    folder = soup_of("uniform", members).folder(place / "results")
    why = r"^tiny_bert demo_rte vanilla\+soup_uniform of 3 runs: another process is making it$"
    with folder.lock(), pytest.raises(UserError, match=why):
        make_soups("uniform", place / "results", say=lambda line: None)
