"""What belongs to a run's identity: everything that can change its numbers or what they mean."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hype_bench.models.checkpoint import locate
from hype_bench.options import choice, flag, number
from hype_bench.runs.identity import digest, identity, of_analysis, options_of
from hype_bench.testing.composed import configured

TINY = ("model=tiny_bert", "task=demo_rte", "training.max_steps=2")


def parts_of(
    *overrides: str, labels: tuple[str, ...] = ("no", "yes"), checkpoint: str = "hub:m", **plugins: str
) -> dict[str, Any]:
    return identity(configured(*TINY, *overrides), checkpoint, "rows", list(labels), {"vanilla": {}}, plugins)


def test_the_names_of_the_classes_and_their_order_count() -> None:
    """One name more is a wider head on the same rows; another order is another meaning of every output."""
    named = [parts_of(labels=labels) for labels in (("no", "yes"), ("yes", "no"), ("no", "yes", "perhaps"), ())]
    assert len({digest(parts) for parts in named}) == 4


def test_the_package_of_a_technique_and_the_version_of_its_numbers_count() -> None:
    every = [parts_of(), parts_of(vanilla="theirs 1"), parts_of(vanilla="theirs 2"), parts_of(vanilla="others 1")]
    assert len({digest(parts) for parts in every}) == 4


def test_the_version_of_a_task_counts() -> None:
    assert digest(parts_of()) == digest(parts_of("task.version=1"))
    assert digest(parts_of()) != digest(parts_of("task.version=2"))


def test_every_training_setting_counts_unless_it_has_no_effect() -> None:
    counted = parts_of()["training"].keys()
    assert counted == vars(configured(*TINY).training).keys() - {"evaluate_every", "save", "cuda_graphs"}


def test_a_setting_that_came_later_counts_where_it_is_not_as_before() -> None:
    assert parts_of("training.cuda_graphs=off")["training"]["cuda_graphs"] == "off"


def test_an_option_that_came_later_counts_where_it_is_not_as_before() -> None:
    @dataclass
    class Technique:
        strength: float = number(0.5)
        kind: str = choice("plain", "plain", "odd", added_later=True)
        spare: bool = flag(added_later=True)

    assert options_of(Technique()) == {"strength": 0.5}
    assert options_of(Technique(kind="odd")) == {"strength": 0.5, "kind": "odd"}


def test_an_identity_is_the_one_it_was() -> None:
    """Or every run on disk would be done again."""
    assert digest({**parts_of(), "format": 5}) == "8f40bd47954e0e28"


@pytest.mark.parametrize(
    "changed", [{"truncation_side": "left"}, {"model_input_names": ["input_ids"]}, {"do_lower_case": False}]
)
def test_what_decides_truncation_and_token_types_counts(tmp_path: Path, changed: dict[str, Any]) -> None:
    """It lies in the tokenizer's configuration, and that is part of the checkpoint's content."""
    run = configured(*TINY)
    tiny = locate(run.model)
    folder = shutil.copytree(tiny.location, tmp_path / "copy")
    model = replace(run.model, name_or_path=str(folder))
    assert locate(model).identity == tiny.identity
    about = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(about | changed))
    assert locate(model).identity != tiny.identity


def test_an_analysis_counts_with_its_options_its_version_and_what_it_reads() -> None:
    run = parts_of()
    about: list[tuple[str, dict[str, Any], int, list[str]]] = [
        ("robustness", {}, 1, ["rows"]),
        ("transfer", {}, 1, ["rows"]),
        ("transfer", {"mapping": "argmax"}, 1, ["rows"]),
        ("transfer", {}, 2, ["rows"]),
        ("transfer", {}, 1, ["others"]),
    ]
    assert len({digest(parts) for parts in (run, *(of_analysis(run, *each) for each in about))}) == 6
