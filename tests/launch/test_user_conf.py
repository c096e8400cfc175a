"""A ``conf`` folder of one's own: beside the work or named, however the flag is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hype_bench.config import CONF
from hype_bench.launch.user_conf import with_user_conf
from hype_bench.options import UserError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ``conf`` in it, and another one beside that."""
    for folder, name in (("conf", "beside"), ("else where", "named")):
        (tmp_path / folder / "task").mkdir(parents=True)
        text = (CONF / "task/demo_rte.yaml").read_text().replace("name: demo_rte", f"name: {name}")
        (tmp_path / folder / "task" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [("task=beside",), ("task=named", "--conf", "else where"), ("--conf=else where", "task=named")],
    ids=" ".join,
)
def test_its_choices_are_composed(words: tuple[str, ...], place: Path, warm: Any) -> None:
    shown = warm(*words, "--cfg", "job")
    assert shown.returncode == 0, shown.stderr
    name = next(word for word in words if word.startswith("task=")).removeprefix("task=")
    assert f"\n  name: {name}\n" in shown.stdout


def test_what_cannot_be_is_one_line(place: Path) -> None:
    for words, complaint in (
        (["--conf", "nowhere"], "^--conf nowhere: no such folder$"),
        (["seed=1", "--conf"], "^--conf takes a folder, as in --conf DIR$"),
        (["--conf", "conf", "hydra.searchpath=[x]"], "^--conf and hydra.searchpath mean the same: give one of them$"),
    ):
        with pytest.raises(UserError, match=complaint):
            with_user_conf(words)


def test_a_search_path_of_hydras_own_is_left_alone(place: Path) -> None:
    assert with_user_conf(["hydra.searchpath=[x]"]) == ["hydra.searchpath=[x]"]
