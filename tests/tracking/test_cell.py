"""The name by which W&B groups runs: the same over seeds, another for whatever else differs, and readable."""

from __future__ import annotations

import json

import pytest

from hype_bench.runs.record import Label
from hype_bench.testing.composed import composed
from hype_bench.tracking.cell import cell_of


def cell(*overrides: str) -> str:
    run = composed(*overrides)
    label = Label(run.model.label, run.task.name, "+".join(run.methods), run.seed, run.task.metric)
    return cell_of(run.as_dict(), label)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("", "bert_large/rte/vanilla/learning_rate=2e-05"),
        ("method=hype_n noise_scale=1e-4", "bert_large/rte/hype_n/scale=0.0001,learning_rate=2e-05"),
        ("method=hype_n", "bert_large/rte/hype_n/scale=1e-05,learning_rate=2e-05"),
        ("method=hype_n method.hype_n.layers=[0,2]",
         "bert_large/rte/hype_n/scale=1e-05,layers=[0,2],learning_rate=2e-05"),
        ("method=[hype_n,r_drop] method.r_drop.alpha=0.5",
         "bert_large/rte/hype_n+r_drop/scale=1e-05,alpha=0.5,learning_rate=2e-05"),
        ("model=xlnet_large task=mrpc", "xlnet_large/mrpc/vanilla/learning_rate=2e-05"),
        ("model=minilm training.learning_rate=1e-5", "minilm/rte/vanilla/learning_rate=1e-05"),
        ("recipe=code_readme", "bert_large/rte/vanilla/learning_rate=2e-05"),
        ("training.epochs=5 training.dropout=0", "bert_large/rte/vanilla/learning_rate=2e-05,epochs=5.0,dropout=0.0"),
        ("training.max_steps=7", "bert_large/rte/vanilla/learning_rate=2e-05,max_steps=7"),
        ("data.max_train_examples=500", "bert_large/rte/vanilla/learning_rate=2e-05,max_train_examples=500"),
        ("task=mnli analysis=transfer", "bert_large/mnli/vanilla/learning_rate=2e-05"),
        ("task=mnli analysis=transfer analysis.transfer.mapping=sum",
         "bert_large/mnli/vanilla/mapping=sum,learning_rate=2e-05"),
        ("method=freelb", "bert_large/rte/freelb/learning_rate=2e-05"),
        ("method=freelb method.freelb.learning_rate=0.2",
         "bert_large/rte/freelb/freelb.learning_rate=0.2,training.learning_rate=2e-05"),
    ],
)  # fmt: skip
def test_in_words(overrides: str, words: str) -> None:
    assert cell(*overrides.split()) == words


@pytest.mark.parametrize("other", ["seed=7", "device=cpu", "tracker=none", "results_dir=x", "training.save=last"])
def test_what_makes_no_other_cell(other: str) -> None:
    assert cell(other) == cell()


def test_files_of_the_users_own() -> None:
    files = ["task=custom", "task.text_columns=[a,b]", "task.label_column=y", "task.labels=[no,yes]"]
    assert cell(*files, "task.train_file=x/one.csv", "task.validation_file=x/dev.csv").endswith(
        ",train_file=one.csv,validation_file=dev.csv"
    )


def test_a_record_says_the_same() -> None:
    run = composed("method=hype_u", "training.weight_decay=0.01")
    label = Label("bert_large", "rte", "hype_u", 1, "accuracy")
    assert cell_of(json.loads(json.dumps(run.as_dict())), label) == cell_of(run.as_dict(), label)
