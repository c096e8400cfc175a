"""Settings that are each in order and cannot work together are told from the configuration alone."""

from __future__ import annotations

import pytest

from hype_bench.config import UserError
from hype_bench.testing.composed import composed

TOGETHER = {
    ("task.text_columns=[sentence1,label]",): "task.text_columns names 'label', the column of the labels",
    ("task.text_columns=[sentence1,sentence1]",): "task.text_columns names 'sentence1' twice",
    ("task=custom", "task.text_columns=[a]"): "task.train_file must be given, as in",
    ("task.text_columns=[]",): r"must name one or two columns, not \[\]",
    ("task.evaluation_splits=[]",): "must name at least one split",
    ("task=demo_rte", "data.predict_test=true"): "task demo_rte names no split to predict in task.test_splits",
    ("training.gradient_accumulation_steps=9", "training.batch_size=8"): "into more pieces than it has examples",
}


@pytest.mark.parametrize("overrides", TOGETHER, ids=" ".join)
def test_what_cannot_work_together(overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=TOGETHER[overrides]):
        composed(*overrides)


def test_what_can() -> None:
    config = composed("data.predict_test=true", "training.gradient_accumulation_steps=8", "training.batch_size=8")
    assert config.training.gradient_accumulation_steps == config.training.batch_size == 8


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("data.root", "a folder of this machine"),
        ("results_dir", "a folder of this machine"),
        ("task.train_file", "a file of this machine"),
        ("task.validation_file", "a file of this machine"),
        ("model.name_or_path", "a hub id or a folder"),
    ],
)
@pytest.mark.parametrize("address", ["https://example.org/a.csv", "s3://bucket/a", "hf://datasets/a/b.parquet", ""])
def test_an_address_is_named_as_one(key: str, what: str, address: str) -> None:
    with pytest.raises(UserError, match=rf"{key} takes {what}, not '{address or 'nothing'}'"):
        composed(f"{key}='{address}'")


@pytest.mark.parametrize("name", ["meta", "xpu", "vulkan", "cpu:3", "cuda:", "cuda:-1", "CUDA", ""])
def test_a_device_that_is_none_of_ours(name: str) -> None:
    with pytest.raises(UserError, match="device must be auto, cpu, cuda, cuda:N or mps, not"):
        composed(f"device='{name}'")
