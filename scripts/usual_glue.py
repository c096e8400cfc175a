"""One run as the usual script makes it: what transformers' ``run_glue.py`` does from start to score.

    python scripts/usual_glue.py --model FOLDER --train train.json --validation validation.json --out score.json

Texts of one column, ``sentence``, and their ``label``. ``--dynamic`` pads to the longest of a batch; the default, as
there, is 128. ``make bench-sweep`` starts it; nothing here is of hype_bench.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from datasets import load_dataset
from sklearn.metrics import matthews_corrcoef
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)


def main() -> None:
    options = parse()
    set_seed(options.seed)
    files = {"train": options.train, "validation": options.validation}
    texts: Any = load_dataset("json", data_files=files)
    config = AutoConfig.from_pretrained(options.model, num_labels=len(set(texts["train"]["label"])))
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, config=config)
    padding = False if options.dynamic else "max_length"

    def preprocess(rows: Any) -> Any:
        return tokenizer(rows["sentence"], padding=padding, max_length=128, truncation=True)

    texts = texts.map(preprocess, batched=True)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            arguments(options, scratch),
            train_dataset=texts["train"],
            eval_dataset=texts["validation"],
            data_collator=DataCollatorWithPadding(tokenizer) if options.dynamic else default_data_collator,
            compute_metrics=scores,
        )
        trainer.train()
        Path(options.out).write_text(json.dumps(trainer.evaluate()), encoding="utf-8")


def arguments(options: argparse.Namespace, scratch: str) -> TrainingArguments:
    """The recipe of the HyPe paper for BERT; what it leaves open is as the Trainer has it."""
    return TrainingArguments(
        scratch,
        seed=options.seed,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        learning_rate=5e-5,
        warmup_steps=0.1,  # below 1: of all updates
        weight_decay=0.1,
        adam_beta2=0.99,
        adam_epsilon=1e-5,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )


def scores(predicted: Any) -> dict[str, float]:
    return {"matthews": float(matthews_corrcoef(predicted.label_ids, predicted.predictions.argmax(axis=1)))}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "train", "validation", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--dynamic", action="store_true", help="pad to the longest of a batch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
