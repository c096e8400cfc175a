"""What an author tests beside the contract, which `pytest --pyargs hype_bench.testing` checks."""

from __future__ import annotations

import torch
from hype_bench_example.methods import EmbeddingDropout

from hype_bench.testing.tiny import batch_of, logits_of, tiny


def test_a_dimension_is_dropped_for_all_tokens() -> None:
    model, batch, seen = tiny("bert").train(), batch_of(3), []
    table = model.get_input_embeddings()
    with EmbeddingDropout(p=0.5).attached(model, seed=1):
        table.register_forward_hook(lambda module, inputs, embedded: seen.append(embedded.detach()))
        logits_of(model, batch)
    dropped = (seen[0] == 0).flatten(0, 1)
    assert torch.equal(dropped.any(0), dropped.all(0))
    assert 0 < int(dropped.all(0).sum()) < dropped.shape[1]
