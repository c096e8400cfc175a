"""A Trainer with techniques on two processes, as ``accelerate launch`` or ``torchrun`` start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, torch
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments
from hype_bench.methods import EMA, HyPe, RDrop, SAM
from hype_bench.trainer import MethodTrainer

torch.manual_seed(0)
model = BertForSequenceClassification(BertConfig(
    vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
))
ids = torch.randint(60, (32, 7), generator=torch.Generator().manual_seed(1))
data = [{"input_ids": row, "labels": index % 3} for index, row in enumerate(ids)]
arguments = TrainingArguments(
    sys.argv[1], max_steps=4, per_device_train_batch_size=4, save_strategy="no", report_to=[], use_cpu=True,
    disable_tqdm=True, learning_rate=1e-2,
)
peer = MethodTrainer(model, arguments, train_dataset=data, methods=[HyPe(scale=0.1), RDrop(), SAM(), EMA(decay=0.5)])
before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
peer.train()
weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
torch.save((before, weights), f"{sys.argv[1]}/{torch.distributed.get_rank()}.pt")
"""


LAUNCHERS = {
    "torchrun": ("torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    "accelerate": ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_both_processes_keep_the_same_weights(launcher: str, tmp_path: Path) -> None:
    import torch

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", *LAUNCHERS[launcher], str(script)]
    subprocess.run([*command, str(tmp_path)], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    (before, one), (_, other) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(one, other)
    assert one.isfinite().all()
    assert not torch.equal(one, before)
