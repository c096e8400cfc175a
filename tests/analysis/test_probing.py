"""Probing: what heads read, of which task, and the layers that are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hype_bench.analysis.measuring.by_layer import chosen_layers
from hype_bench.analysis.measuring.heads import apply_heads, train_heads
from hype_bench.analysis.probing import Probing
from hype_bench.options import UserError
from hype_bench.tasks.metrics import score
from hype_bench.training.evaluation import to_predictions
from hype_bench.training.seeds import derive
from tests.analysis.runs import finished, hidden_states


@pytest.mark.parametrize(("task", "metric"), [("demo_mrpc", "f1"), ("demo_stsb", "pearson_spearman")])
def test_a_head_of_a_layer_is_trained_on_its_first_tokens(task: str, metric: str, tmp_path: Path) -> None:
    """Against transformers' hidden states, one text after the other, and one layer's head alone."""
    analysis = Probing(task=task, epochs=2)
    trained = finished(tmp_path, analysis)
    measured = analysis.measure(trained)
    (data,) = trained.further
    train, test = (
        torch.stack([layers[2][0] for layers in hidden_states(trained, split)])
        for split in (data.train, data.evaluation[0])
    )
    labels = torch.from_numpy(data.train.labels)
    seed = derive(trained.run.seed, "probing")
    head = train_heads(train[None], labels, len(data.labels), 1e-3, 2, 16, seed)
    outputs = apply_heads(head, test[None])[0].numpy()
    expected = score(metric, data.evaluation[0].labels, to_predictions(outputs))
    assert list(measured.scores) == ["layer_3", "layer_0", "layer_1", "layer_2"]
    assert measured.scores["layer_2"] == pytest.approx(expected, abs=1e-4)
    assert analysis.metric == metric
    assert analysis.title("probing") == f"probing.{task}"


def test_layers_and_pooling_are_options(tmp_path: Path) -> None:
    analysis = Probing(task="demo_mrpc", layers=[2, 0], pooling="mean", epochs=1)
    trained = finished(tmp_path, analysis)
    assert list(analysis.measure(trained).scores) == ["layer_2", "layer_0"]
    missing = Probing(task="demo_mrpc", layers=[4], epochs=1)
    with pytest.raises(
        UserError, match=r"^analysis\.probing\.layers: there is no layer 4; .* 0, the embeddings, to 3$"
    ):
        missing.measure(trained)


@pytest.mark.parametrize("chosen", ["top", [], [-1]])
def test_layers_that_name_none_are_refused(chosen: str | list[int]) -> None:
    with pytest.raises(UserError, match=r"^o"):
        chosen_layers("o", chosen, 4)


def test_a_task_is_one_that_has_data_of_its_own() -> None:
    for name in ("custom", "nothing"):
        with pytest.raises(
            UserError, match=f"^analysis.probing.task: there is no task '{name}' with data of its own; there are cola, "
        ):
            Probing(task=name).check(None)  # type: ignore[arg-type]
