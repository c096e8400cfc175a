"""Tasks from parquet folders and from a user's own files: rows, labels, what is dropped, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from hype_bench.config import DataConfig, SourceConfig, TaskConfig, UserError
from hype_bench.tasks.data import Split, fingerprint, load
from hype_bench.tasks.sizes import FULL_ROWS

CONF = Path(__file__).resolve().parents[2] / "conf" / "task"
TASKS = sorted(path.stem for path in CONF.glob("*.yaml"))
WRITERS = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


def task_of(name):
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), OmegaConf.load(CONF / f"{name}.yaml")))


def custom(train, validation=None, **given):
    about = {
        "name": "custom",
        "text_columns": ["premise", "hypothesis"],
        "metric": "accuracy",
        "evaluation_splits": ["validation"],
    }
    return TaskConfig(**{**about, "train_file": str(train), "validation_file": str(validation or train), **given})


def save(frame, path):
    WRITERS[path.suffix](frame, path)
    return path


def pairs(labels, **columns):
    n = len(labels)
    texts = {"premise": [f"it rains, {i}" for i in range(n)], "hypothesis": [f'"wet" {i}' for i in range(n)]}
    return pd.DataFrame({**texts, "label": labels, **columns})


def load_custom(tmp_path, frame, ending=".parquet", **given):
    return load(custom(save(frame, tmp_path / f"data{ending}"), **given), DataConfig())


# --- real data -------------------------------------------------------------------------------------------------------

ROWS = {  # shared/data/README.md: train, evaluation
    "cola": (8551, [1043]),
    "mnli": (13147, [9815]),
    "mrpc": (3668, [408]),
    "qnli": (5237, [5463]),
    "qqp": (23496, [18993]),
    "rte": (2490, [277]),
    "scitail": (158, [1304]),
    "sick": (4439, [495]),
    "sst2": (67349, [872]),
    "stsb": (5749, [1500]),
}
SUBSETS = {
    "mnli": ["subset: 13147 of the 392702 rows of train"],
    "qnli": ["subset: 5237 of the 104743 rows of train"],
    "qqp": ["subset: 23496 of the 363846 rows of train", "subset: 18993 of the 40430 rows of validation"],
    "scitail": ["subset: 158 of the 23097 rows of train"],
}
NOT_THERE = "split 'validation_mismatched' is missing at the source and was not scored"


@pytest.mark.parametrize("name", ROWS)
def test_real_task_loads_in_full(name, data_root):
    task = task_of(name)
    data = load(task, DataConfig(root=str(data_root)))
    train, evaluation = ROWS[name]
    assert (len(data.train), [len(split) for split in data.evaluation]) == (train, evaluation)
    assert data.dropped == {}
    assert data.warnings == SUBSETS.get(name, []) + [NOT_THERE] * (name == "mnli")
    assert data.labels == list(task.labels)
    assert data.outputs == (1 if name == "stsb" else len(task.labels))
    for split in (data.train, *data.evaluation):
        assert {len(column) for column in split.texts} == {len(split)}
        assert len(split.texts) == len(task.text_columns)
        assert all(type(text) is str for column in split.texts for text in column)
        if name == "stsb":
            assert split.labels.dtype == np.float64
            assert (split.labels.min(), split.labels.max()) == (0, 5)
        else:
            assert split.labels.dtype == np.int64
            assert set(split.labels.tolist()) == set(range(len(task.labels)))


def test_first_rows_and_their_labels_are_the_ones_of_the_file(data_root):
    data = load(task_of("scitail"), DataConfig(root=str(data_root)))
    frame = pyarrow.parquet.read_table(data_root / "scitail" / "validation.parquet").to_pylist()
    split = data.evaluation[0]
    assert list(split.texts[0]) == [row["premise"] for row in frame]
    assert list(split.texts[1]) == [row["hypothesis"] for row in frame]
    assert [data.labels[label] for label in split.labels] == [row["label"] for row in frame]


@pytest.mark.parametrize(
    ("name", "split"), [("snli", "train"), ("mnli_mm", "validation_mismatched")], ids=["snli", "mnli_mm"]
)
def test_a_task_without_its_main_split_is_refused(name, split, data_root):
    with pytest.raises(UserError, match=f"task {name}: there is no split '{split}' in .*{name.removesuffix('_mm')}$"):
        load(task_of(name), DataConfig(root=str(data_root)))


def test_a_folder_without_the_task_is_named(data_root, tmp_path):
    with pytest.raises(UserError, match=r"wnli: no such folder; data.root .*wnli/<split>.parquet") as caught:
        load(task_of("wnli"), DataConfig(root=str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in TASKS if name in FULL_ROWS])
def test_label_names_are_the_ones_of_the_parquet_metadata(name, data_root):
    task = task_of(name)
    files = sorted((data_root / task.source.folder).glob("*.parquet"))
    if not files:
        pytest.skip(f"{task.source.folder} is not in the data folder")
    for path in files:
        metadata = json.loads(pyarrow.parquet.read_schema(path).metadata[b"huggingface"])
        label = metadata["info"]["features"][task.label_column]
        if label["_type"] == "ClassLabel":
            assert label["names"] == task.labels, path
        else:
            assert name in ("stsb", "scitail")


@pytest.mark.parametrize("name", [name for name in TASKS if name != "custom"])
def test_every_task_is_a_dozen_lines_with_a_version_and_known_sizes(name):
    text = (CONF / f"{name}.yaml").read_text()
    task = task_of(name)
    assert len([line for line in text.splitlines() if line.strip()]) <= 13
    assert task.name == name
    assert task.version >= 1
    assert task.generated == name.startswith("demo_")
    if not task.generated:
        assert {task.train_split, *task.evaluation_splits} <= FULL_ROWS[task.source.folder].keys()


@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("demo_")])
def test_demo_tasks_load(name):
    data = load(task_of(name), DataConfig(max_train_examples=50))
    assert len(data.train) == 50
    assert len(data.evaluation[0]) == 400
    assert data.warnings == []


@pytest.mark.parametrize(("name", "ending"), [("rte", ".csv"), ("rte", ".jsonl"), ("stsb", ".csv"), ("cola", ".csv")])
def test_the_same_rows_have_the_same_fingerprint_from_anywhere(name, ending, data_root, tmp_path):
    task = task_of(name)
    files = {}
    for split in ("train", "validation"):
        frame = pd.read_parquet(data_root / name / f"{split}.parquet")
        files[f"{split}_file"] = str(save(frame, tmp_path / f"{split}{ending}"))
    own = custom("", "", **{**files, "text_columns": task.text_columns, "metric": task.metric})
    folder = load(task, DataConfig(root=str(data_root)))
    assert load(own, DataConfig()).fingerprint == folder.fingerprint
    changed = pd.read_parquet(data_root / name / "validation.parquet")
    label: Any = changed.loc[7, "label"]
    changed.loc[7, "label"] = label + 0.2 if name == "stsb" else 1 - label
    save(changed, tmp_path / f"validation{ending}")
    assert load(own, DataConfig()).fingerprint != folder.fingerprint


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("metric", "labels"), [("accuracy", [1, 0, -1, 1]), ("pearson", [3.8, 0.2, 5.0, 1.1])])
def test_a_folder_and_a_users_file_of_the_same_rows_are_the_same_data(tmp_path, ending, metric, labels):
    frame = pairs(labels).assign(label=np.asarray(labels, dtype="float32" if metric == "pearson" else "int64"))
    (tmp_path / "own").mkdir()
    for split in ("train", "validation"):
        save(frame, tmp_path / "own" / f"{split}.parquet")
    folder = custom("", metric=metric, source=SourceConfig(hub="own/own", folder="own"))
    expected = load(folder, DataConfig(root=str(tmp_path)))
    given = {"metric": metric, "labels": ["0", "1"] if metric == "accuracy" else None}
    assert load_custom(tmp_path, frame, ending, **given).fingerprint == expected.fingerprint
    frame.loc[0, "label"] = 0
    assert load_custom(tmp_path, frame, ending, **given).fingerprint != expected.fingerprint


# --- a user's own files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", WRITERS)
def test_string_labels_are_numbered_in_sorted_order(tmp_path, ending):
    frame = pairs(["no", "yes", "maybe", "yes", "no"])
    frame["hypothesis"] = frame["hypothesis"].str.replace('"', "'")  # a .tsv has no quoting
    data = load_custom(tmp_path, frame, ending)
    assert data.labels == ["maybe", "no", "yes"]
    assert data.train.labels.tolist() == [1, 2, 0, 2, 1]
    assert list(data.train.texts[0]) == frame["premise"].tolist()
    assert list(data.train.texts[1]) == frame["hypothesis"].tolist()
    assert data.dropped == {}


@pytest.mark.parametrize("ending", WRITERS)
def test_integer_labels_keep_their_size_order(tmp_path, ending):
    data = load_custom(tmp_path, pairs([10, 9, 2, 10]), ending)
    assert data.labels == ["2", "9", "10"]
    assert data.train.labels.tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize("ending", WRITERS)
def test_regression_targets_are_numbers(tmp_path, ending):
    data = load_custom(tmp_path, pairs([0.0, 3.8, 5, -1]), ending, metric="pearson")
    assert data.labels == []
    assert data.outputs == 1
    assert data.train.labels.tolist() == [0.0, float(np.float32(3.8)), 5.0, -1.0]  # here -1 is a number like another


@pytest.mark.parametrize("ending", WRITERS)
def test_a_missing_integer_label_costs_one_row_and_no_type(tmp_path, ending):
    """pandas turns such a column to floats: 1.0 must still be the label 1."""
    data = load_custom(tmp_path, pairs([1, 0, None, 1]), ending)
    assert data.labels == ["0", "1"]
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.dropped == {"train": 1, "validation": 1}


def test_split_types_need_not_agree(tmp_path):
    train = save(pairs([0, 1, 1]), tmp_path / "train.parquet")
    validation = save(pairs([1.0, None, 0.0]), tmp_path / "validation.csv")
    data = load(custom(train, validation), DataConfig())
    assert data.evaluation[0].labels.tolist() == [1, 0]


TYPES = {
    "int8": ([1, 0, 1], "int8"),
    "nullable integers": ([1, 0, 1], "Int64"),
    "arrow integers": ([1, 0, 1], "int64[pyarrow]"),
    "floats": ([1.0, 0.0, 1.0], "float32"),
    "objects": ([1, "0", 1.0], "object"),
    "python strings": (["1", "0", "1"], "object"),
    "pandas strings": (["1", "0", "1"], "string"),
    "arrow strings": (["1", "0", "1"], "string[pyarrow]"),
    "categories": (["1", "0", "1"], "category"),
    "integer categories": ([1, 0, 1], "category"),
    "booleans": ([True, False, True], "bool"),
    "nullable booleans": ([True, False, True], "boolean"),
}


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("case", TYPES.values(), ids=TYPES.keys())
def test_labels_of_any_column_type(tmp_path, monkeypatch, case, named):
    values, dtype = case
    frame = pairs([0] * len(values)).assign(label=pd.array(values, dtype=dtype) if dtype != "category" else None)
    if dtype == "category":
        frame["label"] = pd.Categorical(values)
    monkeypatch.setattr("hype_bench.tasks.data.read_split", lambda *_: frame)
    data = load(custom("x.csv", labels=["no", "yes"] if named else None), DataConfig())
    assert data.train.labels.tolist() == [1, 0, 1]
    unnamed = ["False", "True"] if dtype in ("bool", "boolean") else ["0", "1"]
    assert data.labels == (["no", "yes"] if named else unnamed)


def test_named_labels_fix_the_order_and_may_be_numbers_in_the_file(tmp_path):
    names = ["entails", "neutral"]
    assert load_custom(tmp_path, pairs(["neutral", "entails"]), labels=names).train.labels.tolist() == [1, 0]
    assert load_custom(tmp_path, pairs([1, 0]), labels=names).train.labels.tolist() == [1, 0]
    assert load_custom(tmp_path, pairs([1, 0]), ".csv", labels=names).train.labels.tolist() == [1, 0]
    assert load_custom(tmp_path, pairs([1, 0]), labels=["1", "0"]).train.labels.tolist() == [0, 1]  # by name first


def test_names_and_numbers_are_never_mixed(tmp_path):
    train, validation = save(pairs([0, 1, 2]), tmp_path / "a.csv"), save(pairs([1, 2]), tmp_path / "b.csv")
    with pytest.raises(UserError, match="split train: unknown label '0'; known are 1, 2, 3"):
        load(custom(train, validation, labels=["1", "2", "3"]), DataConfig())


TRUTHS = [["true", "false", "true"], ["TRUE", "False", "True"], [True, False, True], ["true", "FALSE", "TRUE"]]


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("values", TRUTHS, ids=str)
def test_truth_values_in_any_writing_are_the_same_labels(tmp_path, ending, values):
    """``task.labels=[true,false]`` reaches us as True and False, and their order is that of the classes."""
    assert load_custom(tmp_path, pairs(values), ending).labels == ["False", "True"]
    data = load_custom(tmp_path, pairs(values), ending, labels=["True", "False"])
    assert (data.labels, data.train.labels.tolist()) == (["True", "False"], [0, 1, 0])


@pytest.mark.parametrize("ending", WRITERS)
def test_names_are_compared_as_labels_are(tmp_path, ending):
    """1.0 on the command line and 1 in the file are the same label, whichever of them is which."""
    data = load_custom(tmp_path, pairs([1.0, 2.0, 3.0]), ending, labels=["3.0", "2", "1.0"])
    assert (data.labels, data.train.labels.tolist()) == (["3", "2", "1"], [2, 1, 0])
    assert load_custom(tmp_path, pairs([0, 1]), ending, labels=["1.0", "0.0"]).train.labels.tolist() == [1, 0]
    assert load_custom(tmp_path, pairs([0, 1]), ending, labels=["True", "False"]).train.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    "two", [("1", "01"), ("1.5", "1.50"), ("true", 1), ("e\u0301", "é"), ("no", "no\u200b")], ids=ascii
)
def test_one_label_in_two_writings_is_told(tmp_path, two):
    with pytest.raises(UserError, match="look like two spellings of one"):
        load_custom(tmp_path, pairs([*two, "other"]), ".jsonl")


def test_labels_that_differ_in_case_may_be_named(tmp_path):
    assert load_custom(tmp_path, pairs(["A", "a", "b"]), labels=["a", "b", "A"]).train.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("values", [[-1.0, 2.5, -0.5], [-1, -2, 0]])
def test_minus_one_is_a_target_where_others_are_negative_too(tmp_path, values):
    (tmp_path / "own").mkdir()
    for split in ("train", "validation"):
        save(pairs(values), tmp_path / "own" / f"{split}.parquet")
    task = custom("", metric="pearson", source=SourceConfig(hub="own/own", folder="own"))
    data = load(task, DataConfig(root=str(tmp_path)))
    assert data.train.labels.tolist() == values
    assert data.dropped == {}


@pytest.mark.parametrize("ending", WRITERS)
def test_hidden_labels_are_dropped_with_a_count(tmp_path, ending):
    data = load_custom(tmp_path, pairs([1, -1, 0, -1, 1]), ending, labels=["0", "1"])
    assert data.labels == ["0", "1"]
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.dropped == {"train": 2, "validation": 2}
    assert data.warnings == [f"2 of the 5 rows of {split} dropped: 2 with label -1" for split in data.dropped]


def test_hidden_labels_of_a_dev_set_alone_are_dropped(tmp_path):
    train, validation = save(pairs([0, 1]), tmp_path / "a.csv"), save(pairs([-1, 0]), tmp_path / "b.csv")
    assert load(custom(train, validation), DataConfig()).dropped == {"validation": 1}


@pytest.mark.parametrize("ending", WRITERS)
def test_minus_one_among_classes_without_names_is_asked_for(tmp_path, ending):
    """It is a class of its own in the sentiments -1, 0, 1 and none in SNLI: only the user knows."""
    with pytest.raises(UserError, match=r"label -1 is a class, or .* task\.labels"):
        load_custom(tmp_path, pairs([-1, 0, 1]), ending)


@pytest.mark.parametrize("names", [["-1", "0", "1"], ["-1.0", "0.0", "1.0"]])
def test_minus_one_is_a_label_where_it_is_named(tmp_path, names):
    data = load_custom(tmp_path, pairs([-1, 0, 1]), labels=names)
    assert data.train.labels.tolist() == [0, 1, 2]
    assert data.dropped == {}


def test_hidden_targets_of_the_hub_are_dropped(tmp_path):
    (tmp_path / "own").mkdir()
    save(pairs([-1.0, 2.5, 3.0]), tmp_path / "own" / "train.parquet")
    save(pairs([-1.0, 2.5, 3.0]), tmp_path / "own" / "validation.parquet")
    task = custom("", metric="pearson", source=SourceConfig(hub="own/own", folder="own"))
    data = load(task, DataConfig(root=str(tmp_path)))
    assert data.train.labels.tolist() == [2.5, 3.0]


@pytest.mark.parametrize("ending", WRITERS)
def test_rows_without_text_are_dropped_with_a_count(tmp_path, ending):
    frame = pairs([1, 0, 1, 0, None])
    frame.loc[1, "premise"] = None
    frame.loc[[1, 2], "hypothesis"] = None
    data = load_custom(tmp_path, frame, ending)
    assert data.train.labels.tolist() == [1, 0]
    assert data.dropped["train"] == 3
    assert data.warnings[0] == "3 of the 5 rows of train dropped: 2 without text, 1 without label"


@pytest.mark.parametrize("ending", WRITERS)
def test_texts_that_look_like_something_else_stay_as_they_are(tmp_path, ending):
    texts = ["None", "NA", "null", "nan", "007", "1e5", "2020-01-01", "1.0", "true", " spaces ", "naïve ± 🎉"]
    frame = pairs(["a", "b"] * 5 + ["NA"]).assign(date=texts)
    data = load_custom(tmp_path, frame, ending, text_columns=["date"])
    assert data.train.texts == (texts,)
    assert data.labels == ["NA", "a", "b"]
    assert data.dropped == {}


@pytest.mark.parametrize("ending", WRITERS)
def test_a_column_of_nothing_but_digits_stays_text(tmp_path, ending):
    frame = pairs(["a", "b", "a"]).assign(premise=["007", "1e5", "2.50"])
    assert load_custom(tmp_path, frame, ending, text_columns=["premise"]).train.texts == (["007", "1e5", "2.50"],)


def test_numbers_are_taken_as_texts_and_lists_are_not(tmp_path):
    frame = pairs([0, 1], length=[3, 4], tokens=[["a"], ["b"]])
    assert load_custom(tmp_path, frame, text_columns=["length"]).train.texts == (["3", "4"],)
    with pytest.raises(UserError, match=r"column 'tokens' holds .*, not text"):
        load_custom(tmp_path, frame, text_columns=["tokens"])


def test_csv_with_newlines_commas_quotes_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes('\ufeffpremise,hypothesis,label\r\n"a, ""b""\nc",d,yes\r\n e ,f,no\r\n'.encode())
    data = load(custom(path), DataConfig())
    assert data.train.texts == (['a, "b"\nc', " e "], ["d", "f"])


def test_texts_of_several_lines_with_commas_are_no_rows(tmp_path):
    frame = pairs(["yes", "no"]).assign(premise=["one, two\nthree, four\nfive", "so,yes\nhe said"])
    assert load_custom(tmp_path, frame, ".csv").train.texts[0] == frame.premise.tolist()


@pytest.mark.parametrize("ending", [".CSV", ".Csv"])
def test_an_ending_in_capitals(tmp_path, ending):
    save(pairs([0, 1]), tmp_path / "data.csv").rename(tmp_path / f"data{ending}")
    assert len(load(custom(tmp_path / f"data{ending}"), DataConfig()).train) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_in_front_says_how_the_file_is_encoded(tmp_path, encoding):
    path = tmp_path / "data.csv"
    pairs(["ä", "b"]).to_csv(path, index=False, encoding=encoding)
    assert load(custom(path), DataConfig()).labels == ["b", "ä"]


def test_names_of_columns_are_texts(tmp_path):
    """pandas names columns 0, 1, ... where there is no header, and keeps a byte order mark that it was not told of."""
    frame = pd.DataFrame({0: ["a", "b"], "\ufeff1": ["x", "y"]})
    data = load_custom(tmp_path, frame, text_columns=["0"], label_column="1")
    assert (data.train.texts, data.labels) == ((["a", "b"],), ["x", "y"])
    named = pairs(["x", "y"]).set_index("premise")
    named.to_parquet(tmp_path / "data.parquet")
    assert load(custom(tmp_path / "data.parquet"), DataConfig()).train.texts[0] == ["it rains, 0", "it rains, 1"]


@pytest.mark.parametrize("ending", WRITERS)
def test_every_example_knows_its_row(tmp_path, ending):
    """After rows were dropped, set aside and subset."""
    frame = pairs([0, 1, None, 1, 0, 1] * 5)
    frame.loc[0, "premise"] = None
    frame["hypothesis"] = [f"row {row}" for row in range(len(frame))]
    task = custom(save(frame, tmp_path / f"data{ending}"), text_columns=["hypothesis", "premise"])
    data = load(task, DataConfig(max_train_examples=8, max_eval_examples=9, selection_examples=7))
    for split, size in ((data.train, 8), (data.evaluation[0], 9), (data.selection, 7)):
        assert split is not None
        assert split.texts[0] == [f"row {row}" for row in split.rows]
        assert len(split) == size


def test_a_test_row_without_text_is_told_and_never_a_word(tmp_path):
    frame = pairs([0, 1, 0, 1])
    (tmp_path / "own").mkdir()
    for split in ("train", "validation"):
        save(frame, tmp_path / "own" / f"{split}.parquet")
    save(frame.assign(premise=["a", None, float("nan"), "d"]), tmp_path / "own" / "test.parquet")
    task = custom("", source=SourceConfig(hub="own/own", folder="own"), test_splits=["test"])
    data = load(task, DataConfig(root=str(tmp_path), predict_test=True))
    assert data.test[0].texts[0] == ["a", "d"]
    assert data.test[0].rows.tolist() == [0, 3]
    assert data.warnings == ["2 of the 4 rows of test are without text and were not predicted"]
    save(frame.drop(columns="premise"), tmp_path / "own" / "test.parquet")
    with pytest.raises(UserError, match="split test: no column 'premise'; there are hypothesis, label"):
        load(task, DataConfig(root=str(tmp_path), predict_test=True))


def test_tsv_takes_quotes_for_letters(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text('premise\thypothesis\tlabel\n"open\tb\tyes\nc\td"\tno\n')
    assert load(custom(path), DataConfig()).train.texts == (['"open', "c"], ["b", 'd"'])


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(pairs([0, 1]), tmp_path / "data.csv")
    assert len(load(custom("~/data.csv"), DataConfig()).train) == 2


def test_training_and_evaluation_may_be_the_same_split(tmp_path):
    path = save(pairs([0, 1, 1]), tmp_path / "data.csv")
    data = load(custom(path, evaluation_splits=["train"]), DataConfig(max_train_examples=2))
    assert (len(data.train), [len(split) for split in data.evaluation]) == (2, [3])


# --- complaints ------------------------------------------------------------------------------------------------------


def complaint(tmp_path, content=None, name="data.csv", **given):
    path = tmp_path / name
    if isinstance(content, pd.DataFrame):
        save(content, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(custom(path, **given), DataConfig())
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return message.replace(str(path), "FILE")


TABLE = b"premise,hypothesis,label\n"
BAD_FILES = {
    "missing": ("data.csv", None, "FILE: no such file"),
    "ending": ("data.xlsx", b"x", "FILE: cannot read .xlsx; .csv, .tsv, .jsonl, .parquet are known"),
    "no ending": ("data", b"x", "FILE: cannot read a file without ending; .csv, .tsv, .jsonl, .parquet are known"),
    "corrupt parquet": ("data.parquet", b"PAR1 this is not it", "FILE: not a readable parquet file ("),
    "zero bytes parquet": ("data.parquet", b"", "FILE: not a readable parquet file ("),
    "zero bytes csv": ("data.csv", b"", "FILE: not a readable csv file ("),
    "broken json": ("data.jsonl", b'{"premise": "a",', "FILE: not a readable jsonl file ("),
    "json of lists": ("data.jsonl", b"[1, 2]\n", "FILE: not a readable jsonl file (line 1 is not a JSON object)"),
    "not utf-8": (
        "data.csv",
        TABLE + b"a,b,no\ncaf\xe9,b,yes\n",
        "FILE: not a readable csv file (line 3 is not UTF-8, byte 0xe9: convert it, as in iconv -f latin1",
    ),
    "json in latin-1": ("data.jsonl", b'{"premise": "\xe9"}', "FILE: not a readable jsonl file (line 1 is not UTF-8"),
    "two columns of one name": (
        "data.csv",
        b"premise,premise,label\na,b,yes\n",
        "FILE: not a readable csv file (its header names 'premise' twice)",
    ),
    "a quote that closes within another text": (
        "data.csv",
        TABLE + b'"open,b,yes\nc,d,no\n"e,f,yes\n',
        "FILE: not a readable csv file (a quote that ends nowhere, or within a field, up to line 4)",
    ),
    "a quote that closes nowhere": (
        "data.csv",
        TABLE + b'a,b,yes\n"open,d,no\n',
        "FILE: not a readable csv file (a quote that ends nowhere",
    ),
    "a quote that swallows a row": (
        "data.csv",
        TABLE + b'a,"open,yes\nc,5",no\ne,f,yes\n',
        "FILE: column 'hypothesis' of row 0 contains rows of the file: a quote at its start is not closed",
    ),
    "a quote that swallows the beginning of a row": (
        "data.csv",
        b'label,hypothesis,premise\nyes,a,"open\nno,b,5"\nno,c,d\n',
        "FILE: column 'premise' of row 0 contains rows of the file: a quote at its start is not closed",
    ),
    "a quote that swallows rows": (
        "data.csv",
        TABLE + b'"open,b,yes\nc,d,no\n8"" by 5",f,yes\ng,h,no\n',
        "FILE: column 'premise' of row 0 contains rows of the file: a quote at its start is not closed",
    ),
    "surplus field in one row": ("data.csv", TABLE + b"a,b,yes\na,b,c,no\n", "FILE: not a readable csv file ("),
    "surplus field in all rows": ("data.csv", TABLE + b"a,b,c,yes\na,b,c,no\n", "FILE: not a readable csv file ("),
    "no rows": ("data.csv", TABLE, "task custom, split train: no labelled row among 0"),
    "no rows in json": ("data.jsonl", b"\n", "task custom, split train: no column 'premise'; there are none"),
}


@pytest.mark.parametrize(("name", "content", "expected"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_named_in_one_line(tmp_path, name, content, expected):
    assert complaint(tmp_path, content, name).startswith(expected)


BAD_TABLES = {
    "missing column": (
        pairs(["a", "b"]).drop(columns="hypothesis"),
        {},
        "task custom, split train: no column 'hypothesis'; there are premise, label",
    ),
    "missing label column": (
        pairs(["a", "b"]),
        {"label_column": "gold"},
        "task custom, split train: no column 'gold'; there are premise, hypothesis, label",
    ),
    "unknown label": (
        pairs(["a", "b"]),
        {"labels": ["a", "c"]},
        "task custom, split train: unknown label 'b'; known are a, c",
    ),
    "a label of many": (
        pairs(["c150", "c3"]),
        {"labels": [f"c{number}" for number in range(150)]},
        "task custom, split train: unknown label 'c150'; known are "
        f"{', '.join(f'c{number}' for number in range(20))} and 130 more",
    ),
    "unknown number": (
        pairs([0, 2]),
        {"labels": ["a", "b"]},
        "task custom, split train: unknown label '2'; known are a, b",
    ),
    "all hidden": (pairs([-1, -1]), {"labels": ["a", "b"]}, "task custom, split train: no labelled row among 2"),
    "a name that stands twice": (pairs(["a", "b"]), {"labels": ["a", "b", "a"]}, "task.labels names 'a' twice"),
    "a number that stands twice": (pairs([1, 2]), {"labels": ["1", "2", "1.0"]}, "task.labels names '1' twice"),
    "labels that differ in a blank": (
        pairs(["yes", "no", "yes "]),
        {},
        "task custom: labels 'yes' and 'yes ' look like two spellings of one: spell them alike, "
        "or name both with task.labels",
    ),
    "labels that differ in case": (
        pairs(["Yes", "no", "yes"]),
        {},
        "task custom: labels 'Yes' and 'yes' look like two spellings of one: spell them alike, "
        "or name both with task.labels",
    ),
    "a label in another writing than its name": (
        pairs(["yes", "no "]),
        {"labels": ["yes", "no"]},
        "task custom, split train: unknown label 'no '; known are yes, no; 'no ' is not 'no'",
    ),
    "a column with a blank in its name": (
        pairs(["a", "b"]).rename(columns={"label": " label"}),
        {},
        "task custom, split train: no column 'label'; there are premise, hypothesis, ' label'",
    ),
    "labels in another case than all names": (
        pairs(["Yes", "No"]),
        {"labels": ["yes", "no"]},
        "task custom, split train: unknown label 'No'; known are yes, no; 'No' is not 'no'",
    ),
    "several labels a row": (
        pairs([["a", "b"], ["a"]]),
        {},
        "task custom, split train: column 'label' holds lists, such as ['a', 'b']: a row must have one label "
        "(multi-label classification is not available)",
    ),
    "several labels a row, written": (
        pairs(["[1, 0]", "[0, 1]"]),
        {},
        "task custom, split train: column 'label' holds lists, such as [1, 0]: a row must have one label "
        "(multi-label classification is not available)",
    ),
    "one class": (
        pairs(["a", "a"]),
        {},
        "task custom: a classification needs at least two labels, but there is only 'a'",
    ),
    "no label names": (
        pairs([0, 1]),
        {"labels": []},
        "task custom: a classification needs at least two labels, but task.labels is empty",
    ),
    "three classes for F1": (
        pairs(["a", "b", "c"]),
        {"metric": "f1"},
        "task custom: metric f1 is for two classes, but there are 3; macro_f1 takes any number",
    ),
    "words in a regression": (
        pairs(["2.5", "much"]),
        {"metric": "pearson"},
        "task custom, split train: label 'much' is not a finite number",
    ),
    "infinity in a regression": (
        pairs([2.5, float("inf")]),
        {"metric": "pearson"},
        "task custom, split train: label 'inf' is not a finite number",
    ),
}


@pytest.mark.parametrize(("frame", "given", "expected"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_a_bad_table_is_explained_in_one_line(tmp_path, frame, given, expected):
    assert complaint(tmp_path, frame, **given) == expected


def test_a_label_that_only_validation_has_is_unknown(tmp_path):
    train, validation = save(pairs(["a", "b"]), tmp_path / "a.csv"), save(pairs(["a", "c"]), tmp_path / "b.csv")
    with pytest.raises(UserError, match="split validation: unknown label 'c'; known are a, b"):
        load(custom(train, validation), DataConfig())


# --- subsets and fingerprints ----------------------------------------------------------------------------------------


def test_subsets_are_nested_in_data_order_and_fixed_by_their_seed(tmp_path):
    path = save(pairs([0, 1] * 100), tmp_path / "data.csv")

    def rows(size, seed=0):
        return load(custom(path), DataConfig(max_train_examples=size, subset_seed=seed)).train.texts[1]

    full = rows(None)
    for seed in (0, 1):
        small, large = rows(20, seed), rows(50, seed)
        assert (len(small), len(large)) == (20, 50)
        assert set(small) < set(large) < set(full)
        assert large == [text for text in full if text in set(large)]
        assert small == rows(20, seed)
    assert rows(20, 0) != rows(20, 1)
    assert rows(500) == rows(200) == full


def test_the_rows_of_a_subset_are_pinned(tmp_path):
    """A change here changes what every run on a subset is."""
    task = custom(save(pairs([0, 1] * 5), tmp_path / "data.csv"), text_columns=["hypothesis"])
    assert load(task, DataConfig(max_train_examples=3)).train.texts == ([f'"wet" {row}' for row in (2, 4, 6)],)


def test_each_limit_cuts_its_own_splits(tmp_path):
    task = custom(save(pairs([0, 1] * 20), tmp_path / "data.csv"))
    data = load(task, DataConfig(max_train_examples=10, max_eval_examples=15))
    assert (len(data.train), len(data.evaluation[0])) == (10, 15)
    assert data.fingerprint != load(task, DataConfig()).fingerprint
    assert data.fingerprint == load(task, DataConfig(max_train_examples=10, max_eval_examples=15)).fingerprint


def split_of(*texts, labels=(0, 1)):
    return Split("train", texts, np.asarray(labels), np.arange(len(labels)))


def test_fingerprints_tell_apart_what_reads_alike_when_run_together():
    splits = [
        split_of(["a", "bc"], ["d", "e"]),
        split_of(["ab", "c"], ["d", "e"]),
        split_of(["a", "b"], ["cd", "e"]),
        split_of(["a", "b\x1fc"], ["d", "e"]),
        split_of(["a", "b"], ["c\x1fd", "e"]),
        split_of(["a", "bc"], ["d", "e"], labels=(1, 0)),
        split_of(["d", "e"], ["a", "bc"]),
        split_of(["a", "bc"]),
    ]
    assert len({fingerprint([split]) for split in splits}) == len(splits)
    assert fingerprint(splits[:2]) != fingerprint(splits[1::-1])
    assert fingerprint(splits[:1]) == fingerprint([replace(splits[0], name="other name", rows=splits[0].rows + 1)])
