"""The hub: what is asked of it, its refusals, and the copy it keeps of a repository that holds a script."""

import logging
from dataclasses import replace

import datasets
import pandas as pd
import pytest

from hype_bench.config import DataConfig, SourceConfig, TaskConfig, UserError
from hype_bench.tasks.data import load
from hype_bench.tasks.source import read_split

ROWS = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "label": [0, 1, -1]}


@pytest.fixture
def task():
    return TaskConfig(
        name="tiny_rte",
        source=SourceConfig(hub="somebody/glue", config="rte", folder="rte"),
        text_columns=["sentence1", "sentence2"],
        labels=["entailment", "not_entailment"],
        metric="accuracy",
        evaluation_splits=["validation", "validation_other"],
    )


@pytest.fixture
def hub(monkeypatch):
    """Puts ``answer(**what was asked)`` in the place of the hub and returns the list of what was asked."""

    def install(answer):
        asked = []

        def load_dataset(path, name=None, *, split, revision=None):
            asked.append((path, name, split, revision))
            return answer(split=split, revision=revision)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    yield install
    logging.getLogger("huggingface_hub").setLevel(logging.NOTSET)
    datasets.enable_progress_bars()


def raising(error):
    def answer(**asked):
        raise error

    return answer


def labelled():
    features = datasets.Features(
        {
            "sentence1": datasets.Value("string"),
            "sentence2": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["entailment", "not_entailment"]),
        }
    )
    return datasets.Dataset.from_dict(ROWS, features=features)


def test_rows_of_the_hub(task, hub):
    def answer(split, revision):
        if split == "validation_other":
            raise ValueError("Unknown split \"validation_other\". Should be one of ['train', 'validation'].")
        return labelled()

    asked = hub(answer)
    data = load(task, DataConfig())
    assert data.train.texts == (["a", "b"], ["d", "e"])
    assert data.train.labels.tolist() == [0, 1]
    assert data.dropped == {"train": 1, "validation": 1}
    assert [len(split) for split in data.evaluation] == [2]
    assert data.warnings[-1] == "split 'validation_other' is missing at the source and was not scored"
    assert asked == [("somebody/glue", "rte", split, None) for split in ("train", "validation", "validation_other")]


def test_a_missing_main_split_names_the_repository(task, hub):
    hub(raising(ValueError("Bad split: train. Available splits: ['test']")))
    with pytest.raises(UserError, match="there is no split 'train' in somebody/glue on the hub"):
        load(task, DataConfig())


UNREACHABLE = {
    "offline": ConnectionError("Couldn't reach 'somebody/glue' on the Hub (OfflineModeIsEnabled)"),
    "no such repository": FileNotFoundError("Dataset 'somebody/glue' doesn't exist on the Hub"),
    "no such configuration": ValueError("BuilderConfig 'rte' not found. Available: ['cola']"),
    "not cached": ValueError("Couldn't find cache for somebody/glue for config 'rte'\nwith a second line"),
    "neither script nor copy": RuntimeError("Dataset scripts are no longer supported, but found glue.py"),
    "another library's error": KeyError("etag"),
}


@pytest.mark.parametrize("error", UNREACHABLE.values(), ids=UNREACHABLE.keys())
def test_an_unreachable_hub_is_one_line_with_three_ways_out(task, hub, error):
    hub(raising(error))
    with pytest.raises(UserError) as caught:
        read_split(task, DataConfig(), "train")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("somebody/glue is neither reachable on the hub nor in its cache (")
    assert str(error.args[0]).splitlines()[0] in message
    for way in ("go online", "HYPE_BENCH_DATA (data.root) to a folder with rte/<split>.parquet", "task=demo_rte"):
        assert way in message


def test_the_real_library_offline_gives_the_same_line(task):
    with pytest.raises(UserError, match=r"somebody/glue is neither reachable .*task=demo_rte$"):
        read_split(task, DataConfig(), "train")


def test_a_repository_with_a_script_is_read_from_its_parquet_copy(task, hub):
    def answer(split, revision):
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found glue.py")
        return labelled()

    asked = hub(answer)
    assert read_split(task, DataConfig(), "train")["label"].tolist() == ROWS["label"]
    assert [revision for *_, revision in asked] == [None, "refs/convert/parquet"]


def test_a_data_root_keeps_the_hub_out_of_it(task, hub, tmp_path):
    asked = hub(raising(AssertionError("asked the hub")))
    with pytest.raises(UserError, match="no such folder"):
        read_split(task, DataConfig(root=str(tmp_path)), "train")
    (tmp_path / "rte").mkdir()
    assert read_split(task, DataConfig(root=str(tmp_path)), "train") is None
    assert asked == []


def test_a_split_of_what_lies_beside_the_task(task, hub, tmp_path):
    asked = hub(lambda **asked: labelled())
    split = read_split(task, DataConfig(), "ax/test")
    assert split is not None
    assert len(split) == 3
    assert asked == [("somebody/glue", "ax", "test", None)]
    (tmp_path / "ax").mkdir()
    pd.DataFrame({"premise": ["a"]}).to_parquet(tmp_path / "ax" / "test.parquet")
    assert read_split(task, DataConfig(root=str(tmp_path)), "ax/test").premise.tolist() == ["a"]
    with pytest.raises(UserError, match=r"must hold ay/<split>\.parquet"):
        read_split(task, DataConfig(root=str(tmp_path)), "ay/test")


def test_a_generator_has_its_tasks_and_splits_and_no_others(task):
    task.generated, task.name = True, "demo_rte"
    with pytest.raises(UserError, match="'dev'"):
        load(replace(task, train_split="dev"), DataConfig())
    assert read_split(task, DataConfig(), "dev") is None
    with pytest.raises(UserError, match="there is no generator of 'tiny'; there are demo_rte, demo_cola"):
        read_split(replace(task, name="tiny"), DataConfig(), "train")
