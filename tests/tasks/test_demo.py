"""The demo tasks are the same everywhere, well formed, and not to be solved by counting words."""

import hashlib
import json

import pytest

from hype_bench.tasks.demo import SIZES, generate

PINNED = {  # a change here changes what every demo score means
    "demo_rte": "c55d8ec2976e476b72a167cab554be2032b3d389b484fb68cb8791a092af3ed5",
    "demo_cola": "ddcf12a5a0217c0b9eb267bff2e2c5c56990950df607d92cb030481d359be069",
    "demo_mrpc": "6fbb0e54173b72bbd19ad220668af86b7935ed846351a06d626f2425f75ace29",
    "demo_stsb": "5c2ca9a39cc3518fa18ba09161939d3519eb136587e1ebcf4b34a6aef382b325",
}
CLASSIFIED = {"demo_rte": (0.44, 0.56), "demo_cola": (0.50, 0.62), "demo_mrpc": (0.55, 0.67)}


def texts(columns):
    """The text columns of each row, joined."""
    names = [name for name in columns if name.startswith("sentence")]
    return ["\n".join(row) for row in zip(*(columns[name] for name in names), strict=True)]


def overlaps(columns):
    """The shared words of each pair as a part of all its words."""
    pairs = zip(columns["sentence1"], columns["sentence2"], strict=True)
    bags = [({*one[:-1].lower().split()}, {*two[:-1].lower().split()}) for one, two in pairs]
    return [len(one & two) / len(one | two) for one, two in bags]


def accuracy(predicted, labels):
    return sum(guess == label for guess, label in zip(predicted, labels, strict=True)) / len(labels)


def f1(predicted, labels):
    hits = sum(guess and label for guess, label in zip(predicted, labels, strict=True))
    return 2 * hits / max(1, sum(predicted) + sum(labels))


def overlap_score(task, metric):
    """The validation score of the overlap threshold, and its direction, that are best on train."""
    train, validation = generate(task, "train"), generate(task, "validation")
    measured = overlaps(train)
    rules = [(threshold / 50, above) for threshold in range(52) for above in (True, False)]

    def predict(values, rule):
        return [int((value >= rule[0]) == rule[1]) for value in values]

    best = max(rules, key=lambda rule: metric(predict(measured, rule), train["label"]))
    return metric(predict(overlaps(validation), best), validation["label"])


@pytest.mark.parametrize("task", PINNED)
def test_same_arguments_give_the_same_columns(task):
    columns = [generate(task, split, seed=0) for split in SIZES]
    assert columns == [generate(task, split) for split in SIZES]
    assert columns[0] != generate(task, "train", seed=1)
    assert hashlib.sha256(json.dumps(columns).encode()).hexdigest() == PINNED[task]


@pytest.mark.parametrize("task", PINNED)
@pytest.mark.parametrize("split", SIZES)
def test_columns_are_those_of_glue(task, split):
    columns = generate(task, split)
    sentences = ["sentence"] if task == "demo_cola" else ["sentence1", "sentence2"]
    assert list(columns) == [*sentences, "label", "idx"]
    assert {len(column) for column in columns.values()} == {SIZES[split]}
    assert columns["idx"] == list(range(SIZES[split]))


@pytest.mark.parametrize("task", PINNED)
@pytest.mark.parametrize("split", SIZES)
def test_sentences_are_written_as_sentences(task, split):
    for text in texts(generate(task, split)):
        for line in text.split("\n"):
            assert line[0].isupper()
            assert line[-1] in ".?"
            assert line == " ".join(line.split()), "one space between words"
            assert 3 <= len(line.split()) <= 20


@pytest.mark.parametrize("task", PINNED)
def test_no_text_comes_twice_under_any_seed_or_split(task):
    train, validation = (texts(generate(task, split)) for split in SIZES)
    assert len({*train}) == SIZES["train"]
    assert len({*validation}) == SIZES["validation"]
    assert not {*train} & {*validation}
    assert not {*train} & {*texts(generate(task, "validation", seed=1))}


@pytest.mark.parametrize("task", CLASSIFIED)
@pytest.mark.parametrize("split", SIZES)
def test_label_balance(task, split):
    labels = generate(task, split)["label"]
    low, high = CLASSIFIED[task]
    assert {*labels} == {0, 1}
    assert low <= sum(labels) / len(labels) <= high


def test_similarity_covers_the_whole_scale():
    labels = generate("demo_stsb", "train")["label"]
    assert all(isinstance(label, float) and 0.0 <= label <= 5.0 for label in labels)
    for low in range(5):
        assert sum(low <= label <= low + 1 for label in labels) > 80


def test_word_overlap_does_not_solve_entailment():
    assert overlap_score("demo_rte", accuracy) < 0.62


def test_word_overlap_does_not_solve_paraphrase():
    assert overlap_score("demo_mrpc", f1) < 0.79


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown demo task 'demo_qqp'; there are demo_rte, demo_cola"):
        generate("demo_qqp", "train")
    with pytest.raises(ValueError, match="unknown split 'test' of demo_rte; there are train, validation"):
        generate("demo_rte", "test")
