"""What every layer puts out: as transformers has it, in every family, on packed rows as on padded batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hype_bench.models.hidden_states import States, read_layers
from hype_bench.models.packing import attach_packing, compute_every_token
from hype_bench.testing.tiny import FAMILIES, tiny
from tests.models.test_packing import PACKABLE, collator, tokens_of

CHOSEN = np.array([0, 2, 5, 3])


def states_of(model: Any, family: str, packed: bool) -> list[States]:
    batch = collator(model, packed, pad_left=family == "xlnet")(tokens_of(family), CHOSEN)
    del batch["labels"]
    states: list[States] = []
    with torch.no_grad():
        output = read_layers(model, batch, states.append)
        assert torch.equal(output.logits, model(**batch).logits)  # no hook is left, and none has an effect
    return states


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_those_of_transformers_without_padding(family: str) -> None:
    model = tiny(family).eval()
    states = states_of(model, family, packed=False)
    batch = collator(model, False, pad_left=family == "xlnet")(tokens_of(family), CHOSEN)
    labels, mask = batch.pop("labels"), batch["attention_mask"].bool()
    with torch.no_grad():
        expected = model(**batch, output_hidden_states=True).hidden_states
    assert [of_layer.layer for of_layer in states] == list(range(len(expected)))
    for of_layer, hidden in zip(states, expected, strict=True):
        torch.testing.assert_close(of_layer.hidden, hidden[mask])
        assert of_layer.lengths.tolist() == mask.sum(1).tolist()
        assert of_layer.count == len(labels)
    last = expected[-1]
    first = last[:, -1] if family == "xlnet" else last[:, 0]
    torch.testing.assert_close(states[-1].first, first)
    means = [of_one[real].mean(0) for of_one, real in zip(last, mask, strict=True)]
    torch.testing.assert_close(states[-1].mean, torch.stack(means))


@pytest.mark.parametrize("family", PACKABLE)
def test_packed_rows_have_the_same_states(family: str) -> None:
    model = tiny(family).eval()
    padded = states_of(model, family, packed=False)
    attach_packing(model)
    compute_every_token(model)
    for ours, theirs in zip(states_of(model, family, packed=True), padded, strict=True):
        torch.testing.assert_close(ours.hidden, theirs.hidden, atol=1e-5, rtol=1e-5)
        assert torch.equal(ours.examples, theirs.examples)
        torch.testing.assert_close(ours.first, theirs.first, atol=1e-5, rtol=1e-5)
