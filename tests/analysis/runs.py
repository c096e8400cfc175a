"""A finished run of a tiny encoder on generated sentences, made in this process, as an analysis sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hype_bench.analysis.measuring.form import Analysis
from hype_bench.analysis.measuring.trained import Trained
from hype_bench.contract.registry import build
from hype_bench.models.checkpoint import locate
from hype_bench.runs.folder import RunFolder
from hype_bench.tasks.data import Split
from hype_bench.testing.composed import configured, loaded
from hype_bench.testing.tiny import options
from hype_bench.training.loop import Outcome, fine_tune


def finished(folder: Path, analysis: Analysis, *overrides: str, methods: Sequence[str] = ("vanilla",)) -> Trained:
    """A run of two updates, with its weights in ``folder``, as ``analysis`` is given it."""
    run = configured("model=tiny_bert", "task=demo_rte", "training.max_steps=2", "training.warmup_steps=1", *overrides)
    run = replace(run, methods={name: options(name, "bert") for name in methods})
    data, checkpoint = loaded(run), locate(run.model)
    fine_tune(run, data, checkpoint, build(run.methods), Outcome(), save_to=folder / "model")
    every = analysis.needs_every_token
    return Trained(run, None, RunFolder(folder), data, analysis.data(run), checkpoint, every)


def hidden_states(trained: Trained, split: Split) -> list[list[Tensor]]:
    """Of every text by itself what transformers gives for each layer, embeddings first: (tokens, width)."""
    plain = type(trained.model).from_pretrained(trained.folder.path / "model").eval()
    tokens, states = trained.tokens(split), []
    assert tokens.types is not None
    for begin, end in zip(tokens.bounds, tokens.bounds[1:], strict=False):
        ids, types = (torch.from_numpy(x[begin:end][None].astype(np.int64)) for x in (tokens.ids, tokens.types))
        with torch.no_grad():
            output = plain(input_ids=ids, token_type_ids=types, output_hidden_states=True)
        states.append([of_layer[0] for of_layer in output.hidden_states])
    return states
