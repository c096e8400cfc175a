"""The typed record: what is written is what is read, and a change by hand is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.reading import BrokenError
from hype_bench.runs.record import Record, Scores
from tests.runs.records import record_of

SECRET = "a-token-of-24-characters"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A record of two splits and a NaN, whose configuration holds a secret."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    content = record_of(seed=7, method="w")
    content["scores"] = {"accuracy": 0.5, "pearson": "nan", "mm/accuracy": 0.25, "ax/test/accuracy": 1.0}
    content["scores"]["selection/accuracy"] = 0.75
    content["config"]["data"] = {"root": f"/home/{SECRET}/data"}
    folder = RunFolder(tmp_path)
    folder.write_record(Record.from_json({**content, "subset": {"train": [5, 9]}, "absent": ["mm"]}))
    return folder


def stored(folder: RunFolder) -> dict[str, Any]:
    return json.loads((folder.path / "result.json").read_text())


def test_a_record_is_read_as_it_was_written(folder: RunFolder) -> None:
    record = folder.result()
    assert record is not None
    assert (record.label.title, record.format, record.headline) == ("m t w seed 7", 2, 0.5)
    assert record.scores.further == {"mm": {"accuracy": 0.25}, "ax/test": {"accuracy": 1.0}}
    assert record.scores.heldout == {"accuracy": 0.75}
    assert record.data["root"] == "/home/<HF_TOKEN>/data"
    assert (record.subset, record.absent) == ({"train": [5, 9]}, ["mm"])
    folder.write_record(record)
    assert folder.result() == record


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"accuracy": 0.51}},
        {"status": "diverged"},
        {"subset": {}},
        {"config": {}},
        {"checksum": "0123456789abcdef"},
        {"checksum": 7},
    ],
)
def test_a_record_that_was_changed_by_hand_is_broken(folder: RunFolder, change: dict[str, Any]) -> None:
    (folder.path / "result.json").write_text(json.dumps(stored(folder) | change))
    with pytest.raises(BrokenError, match="its checksum does not match"):
        folder.result()


def test_the_layout_of_the_file_and_what_no_table_reads_may_change(folder: RunFolder) -> None:
    record = folder.result()
    other = dict(reversed(stored(folder).items())) | {"facts": {"mine": 1}}
    (folder.path / "result.json").write_text(json.dumps(other, indent=3))
    changed = folder.result()
    assert changed is not None
    assert changed.facts == {"mine": 1}
    assert record is not None
    assert changed.scores == record.scores


def test_a_record_of_an_older_version_still_reads() -> None:
    """It has no checksum, and says in sentences alone what it has of the data."""
    sentences = ["3 of the 9 rows of train dropped: 3 without text", "subset: 6 of the 2490 rows of train"]
    sentences.append("split 'validation_mismatched' is not at the source and was not scored")
    record = Record.from_json({**record_of(), "warnings": sentences, "dropped": {"train": 3}})
    assert record.subset == {"train": [6, 2490]}
    assert record.absent == ["validation_mismatched"]
    assert record.warnings == sentences
    assert record.checksum is None


def test_scores_keep_their_names() -> None:
    flat = {"accuracy": 0.5, "f1": 0.25, "mm/accuracy": 1.0, "selection/f1": 0.0}
    scores = Scores.from_json(flat)
    assert scores.to_json() == flat
    assert (scores.get("f1"), scores.get("accuracy", "mm"), scores.get("f1", "mm")) == (0.25, 1.0, None)
