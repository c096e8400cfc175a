"""Tiny encoders of every family with random weights, and a tokenizer made without a download. For tests only."""

from __future__ import annotations

import string
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hype_bench.models.cache import cache_folder
from hype_bench.options import UserError
from hype_bench.tasks import demo

_VERSION = 2
_SPECIAL = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "xlnet": ("<unk>", "<pad>", "<cls>", "<sep>", "<mask>"),
}
# (single, pair) with the segment number of each piece after the colon, as each family's own tokenizer does
_TEMPLATES = {
    "bert": ("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
    "roberta": ("<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0"),
    "xlnet": ("$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2"),
}
_SIZES: dict[str, dict[str, Any]] = {
    family: {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    for family in ("bert", "roberta", "electra", "deberta", "deberta_v2")
}
_SIZES["electra"] |= {"embedding_size": 16}
_SIZES["roberta"] |= {"max_position_embeddings": 258, "type_vocab_size": 1}
for _family in ("bert", "electra"):
    _SIZES[_family] |= {"max_position_embeddings": 256}
for _family in ("deberta", "deberta_v2"):
    _SIZES[_family] |= {
        "max_position_embeddings": 256,
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["c2p", "p2c"],
        "type_vocab_size": 0,
    }
_SIZES["xlnet"] = {"d_model": 32, "n_layer": 3, "n_head": 2, "d_inner": 64}


def build_tiny(family: str) -> Path:
    """A checkpoint folder of a three-layer encoder of this family, built once and kept in the cache."""
    if family not in _SIZES:
        raise UserError(f"there is no tiny {family}; there are {', '.join(_SIZES)}")
    folder = cache_folder() / f"tiny-v{_VERSION}" / family
    try:
        if not folder.is_dir():
            _build(family, folder)
    except OSError as error:
        raise UserError(
            f"the cache {cache_folder()} cannot be written to ({error.strerror or error}): "
            "set HYPE_BENCH_CACHE to a folder that can"
        ) from error
    return folder


def _build(family: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        _write(family, Path(scratch) / family)
        try:
            (Path(scratch) / family).replace(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise


def _write(family: str, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModel

    from hype_bench.models.silence import silence_transformers

    tokenizer = _tokenizer(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            family.replace("_", "-") if family == "deberta_v2" else family,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            **_SIZES[family],
        )
        with silence_transformers():
            AutoModel.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(family: str) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    style = family if family in _SPECIAL else "bert"
    special = _SPECIAL[style]
    unknown, pad, mask = (next(t for t in special if part in t.lower()) for part in ("unk", "pad", "mask"))
    vocabulary = {token: number for number, token in enumerate((*special, *_pieces()))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    single, pair = _TEMPLATES[style]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, vocabulary[token]) for token in special]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown,
        pad_token=pad,
        mask_token=mask,
        padding_side="left" if style == "xlnet" else "right",
        model_input_names=["input_ids", "attention_mask"] + ([] if style == "roberta" else ["token_type_ids"]),
        model_max_length=256,
    )


def _pieces() -> list[str]:
    """Single characters, their continuations, and the thousand commonest words of the generated tasks."""
    words: Counter[str] = Counter()
    for task in ("demo_rte", "demo_cola"):
        for column in demo.generate(task, "train").values():
            for text in column:
                if isinstance(text, str):
                    words.update("".join(c if c.isalpha() else " " for c in text.lower()).split())
    characters = string.ascii_lowercase + string.digits + string.punctuation
    common = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    return [*characters, *(f"##{c}" for c in characters), *common[:1000]]
