"""A record is checked once, where it is read: whatever is wrong with one, its file is named and the rest is shown."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import typer

from hype_bench.commands.status import status
from hype_bench.commands.table import table
from hype_bench.runs.check import check_record, check_request
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.status import read_run
from tests.runs.records import record_of

DEEP = json.loads("[" * 40 + "]" * 40)
OTHER = (None, True, 7, -1.5, "word", [], [1], {"a": 1}, 10**400)  # of which at most a few suit any place


def changed(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at ``label.seed`` or the like."""
    copy = json.loads(json.dumps(record))
    *outer, last = path.split(".")
    part = copy
    for key in outer:
        part = part[key]
    part[last] = value
    return copy


def places(value: Any, prefix: str = "") -> list[str]:
    inner = value.items() if isinstance(value, dict) else ()
    return [name for key, one in inner for name in (prefix + key, *places(one, f"{prefix}{key}."))]


def test_a_record_is_one_also_with_nothing_but_what_it_must_have() -> None:
    whole = record_of()
    assert check_record(whole) is whole
    needed = {key: whole[key] for key in ("status", "label", "parts", "config", "scores")}
    assert check_record(needed) is needed


@pytest.mark.parametrize(
    ("name", "score", "is_good"),
    [
        *(("accuracy", score, True) for score in (0, 1, 0.5, 1 + 1e-12)),
        *(("accuracy", score, False) for score in (True, 99, -7, -0.1, math.inf, math.nan, "nan", "0.5", None, [0.5])),
        *(("matthews", score, True) for score in (-1, 1, -0.3, "nan", math.nan)),
        *(("validation_mm/pearson_spearman", score, True) for score in (-1, "nan")),
        *(("selection/f1", score, False) for score in (-0.5, "nan", 10**400)),
        *(("pearson", score, False) for score in (-1.1, 2, "inf", False)),
    ],
)
def test_a_score_is_one_that_its_metric_can_have(name: str, score: Any, is_good: bool) -> None:
    record = {**record_of(), "scores": {name: score}}
    if is_good:
        assert check_record(record)
    else:
        with pytest.raises(ValueError, match=f"scores.{name} is not a score"):
            check_record(record)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status", "weird"),
        ("status", "failed"),
        ("label.seed", "abc"),
        ("label.seed", 2**32),
        ("label.seed", True),
        ("label.model", ""),
        ("parts.seed", 4),
        ("parts.format", None),
        ("parts.methods", [["v"]]),
        ("parts.training.epochs", DEEP),
        ("config.task.labels", 5),
        ("seconds.train", "soon"),
        ("seconds.train", math.inf),
        ("warnings", [7]),
        ("curve", {}),
        ("machine", {"device": {}}),
        ("working_directory", "wandb"),
        ("overrides", "seed=1"),
        ("overrides", [None]),
        ("label.generated", 1),
        ("subset", {"train": [5]}),
        ("dropped", {"train": -1}),
        ("absent", "test"),
        ("classes", [1]),
        ("facts", []),
        ("peak_memory_bytes", 0.5),
        ("reason", 0),
        ("updates", False),
        ("subset", {"train": [5, True]}),
    ],
)
def test_what_is_wrong_is_said(path: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^\S.{5,}$"):
        check_record(changed(record_of(), path, value))


@pytest.mark.parametrize("path", ["label.seed", "parts.format", "parts.seed", "label", "parts", "config", "scores"])
def test_nothing_that_is_needed_may_be_missing(path: str) -> None:
    record = record_of()
    *outer, last = path.split(".")
    del (record[outer[0]] if outer else record)[last]
    with pytest.raises(ValueError, match=last):
        check_record(record)


def test_a_request_is_no_record() -> None:
    request = {key: value for key, value in record_of().items() if key in ("label", "parts", "config")}
    assert check_request(request) is request
    with pytest.raises(ValueError, match="status"):
        check_record(request)


@pytest.mark.parametrize("path", places(record_of()))
def test_no_change_of_a_record_takes_a_verb_down(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the verbs shows the other record, whatever stands in any place of the rest; what it refuses is named."""
    odd = {f"odd{number}": changed(record_of(), path, value) for number, value in enumerate(OTHER)}
    for name, record in {"good": record_of(0.75, model="good"), **odd}.items():
        folder = RunFolder.of(tmp_path, name)
        folder.path.mkdir(parents=True)
        (folder.path / "result.json").write_text(json.dumps(record))
    status(tmp_path)
    refused = {name for name in odd if read_run(RunFolder.of(tmp_path, name)).state != "done"}
    assert "good t v: seed 3\n" in capsys.readouterr().out
    with pytest.raises(typer.Exit) if refused else contextlib.nullcontext() as end:
        table(None, tmp_path)
    shown = capsys.readouterr()
    assert not refused or end.value.exit_code == 1
    assert "75.00" in shown.out
    assert {name for name in odd if f"{tmp_path / 'runs' / name / 'result.json'} is broken (" in shown.err} == refused
