"""What the paper says of a cell's runs, against what runs were told."""

from __future__ import annotations

from typing import Any

import pytest

from hype_bench.paper.published import Published, cell
from hype_bench.paper.setting import contradictions

OPTIONS = {
    "hype_n": {"scale": 1e-5, "layers": "all", "position": "between", "dropout": 0.0},
    "r_drop": {"alpha": 0.5},
    "r3f": {"scale": 1e-5, "distribution": "normal", "weight": 0.1},
}


def record(*methods: str, **training: Any) -> tuple[dict[str, Any], ...]:
    """Parts, configuration and subset."""
    return {"methods": [[name, OPTIONS[name]] for name in methods], "training": training}, {}, {}


def of_data(**data: Any) -> tuple[dict[str, Any], ...]:
    return {}, {"data": data}, {}


def test_every_table_has_settings_of_its_own() -> None:
    within = cell(17, row="Adding within Transformers", column="RTE")
    assert contradictions(within, *record("hype_n")) == ["hype_n.position=between instead of within"]
    assert contradictions(cell(17, row="HyPe", column="RTE"), *record("hype_n")) == []
    few = cell(3, row="RTE", column="Vanilla")
    assert contradictions(few, *of_data(max_train_examples=1000)) == []
    assert contradictions(few, *of_data(max_train_examples=None)) == ["max_train_examples=null instead of 1000"]
    both = cell(16, block="Detailed results on BERT", row="HyPe-N+RDrop", column="RTE")
    assert contradictions(both, *record("hype_n", "r_drop")) == []
    alone = cell(16, block="Detailed results on BERT", row="R3F", column="RTE")
    assert contradictions(alone, *record("r3f")) == []


@pytest.mark.parametrize(
    ("block", "column", "training"),
    [
        ("ELECTRA", "RTE", {"batch_size": 32, "epochs": 10}),
        ("XLNet", "CoLA", {"batch_size": 64, "epochs": None, "max_steps": 1200, "warmup_steps": 120}),
    ],
)
def test_the_recipe_is_that_of_the_model_and_the_task(block: str, column: str, training: dict[str, Any]) -> None:
    printed = cell(1, block=block, row="Vanilla", column=column)
    assert contradictions(printed, *record(**training)) == []
    assert contradictions(printed, *record(**training | {"batch_size": 16})) == [
        f"batch_size=16 instead of {training['batch_size']}"
    ]


def test_the_largest_models_have_another_search() -> None:
    largest, base = (cell(4, block=f"DeBERTa {size}", row=row, column="RTE") for size, row in SIZES)
    assert contradictions(largest, *record(learning_rate=1e-6, epochs=6)) == []
    assert contradictions(base, *record(learning_rate=1e-6, epochs=6))[0].startswith("learning_rate=1e-06 instead of")


SIZES = (("XXL", "XXL"), ("base", "Base"))


@pytest.mark.parametrize("of_speed", [{"packing": "off"}, {"gradient_accumulation_steps": 4}])
def test_what_changes_no_number_contradicts_nothing(of_speed: dict[str, Any]) -> None:
    assert contradictions(printed_rte(), *record(**of_speed)) == []


def printed_rte() -> Published:
    return cell(1, block="BERT", row="Vanilla", column="RTE")


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("model", "name_or_path", "elsewhere/bert_large"),
        ("task", "train_file", "my.csv"),
        ("data", "max_length", 16),
        ("data", "selection_examples", 100),
    ],
)
def test_another_model_or_other_data_contradict(part: str, setting: str, value: Any) -> None:
    (contradiction,) = contradictions(printed_rte(), {}, {part: {setting: value}}, {})
    assert contradiction.startswith(f"{setting}={value} instead of")
