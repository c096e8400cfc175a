"""Checkpoints as people bring them: what loads, what is refused in one line, and that no code of theirs is run."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import hype_bench
from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import Checkpoint, locate
from hype_bench.models.family import family_of
from hype_bench.models.limits import positions, token_types
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.skeleton import skeleton
from hype_bench.options import UserError

REGRESSION = 1
PACKAGE = Path(hype_bench.__file__).parent


def own(folder: Path) -> ModelConfig:
    return ModelConfig(name="bert_large", checkpoint="google-bert/bert-large-cased", name_or_path=str(folder))


def tiny(family: str) -> Checkpoint:
    return locate(ModelConfig(name=f"tiny_{family}", checkpoint=f"tiny:{family}", family=family))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny BERT, to be changed."""
    return Path(shutil.copytree(tiny("bert").location, tmp_path / "checkpoint"))


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def loading_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package that may fetch code with a configuration, a tokenizer or a model."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained"):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_the_whole_package_refuses_code_of_checkpoints() -> None:
    calls = dict(loading_calls())
    assert len(calls) >= 4
    for place, call in calls.items():
        trust = {word.arg: ast.unparse(word.value) for word in call.keywords}.get("trust_remote_code")
        assert trust == "False", f"{place}: trust_remote_code={trust}"


@pytest.mark.parametrize("reference", ["evil.C", "somebody/elses--evil.C"])
def test_code_in_a_checkpoint_is_refused_and_nothing_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    def asked(*_: Any) -> str:
        raise AssertionError("a question on standard input")

    monkeypatch.setattr("builtins.input", asked)
    ran = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    auto_map = {name: reference for name in ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")}
    rewrite(folder / "config.json", model_type="evil", auto_map=auto_map)
    checkpoint = locate(own(folder))
    for load in (
        lambda: family_of(own(folder)),
        lambda: skeleton(checkpoint, 2),
        lambda: load_classifier(checkpoint, 2, 0.1, 0),
    ):
        with pytest.raises(UserError, match=f"{folder} needs Python code of its own, which is never run"):
            load()
    assert not ran.exists()


def test_a_tokenizer_with_code_of_its_own_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "evil.py").write_text("raise SystemExit('it ran')\n")
    names = {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.T", None]}}
    (folder / "tokenizer.json").unlink()
    rewrite(folder / "tokenizer_config.json", **names)
    rewrite(folder / "config.json", model_type="bert")
    with pytest.raises(UserError, match=r"cannot be loaded|Python code of its own"):
        load_tokenizer(locate(own(folder)))


def weights_of_classes(model: Any, outputs: int) -> torch.Tensor:
    """The one matrix that has a row for every class."""
    (matrix,) = [
        p for name, p in model.named_parameters() if p.dim() == 2 and len(p) == outputs and "embed" not in name
    ]
    return matrix.detach()


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "xlnet", "deberta", "deberta_v2"])
@pytest.mark.parametrize("outputs", [REGRESSION, 3])
def test_a_head_that_comes_with_the_checkpoint_is_drawn_anew_from_the_seed(
    family: str, outputs: int, tmp_path: Path
) -> None:
    source = tiny(family)
    plain = load_classifier(source, outputs, 0.1, head_seed=7)
    plain.save_pretrained(tmp_path)
    load_tokenizer(source).save_pretrained(tmp_path)
    trained = locate(own(tmp_path))
    first, again, second = (load_classifier(trained, outputs, 0.1, head_seed=seed) for seed in (1, 1, 2))
    heads = [weights_of_classes(model, outputs) for model in (plain, first, again, second)]
    assert torch.equal(heads[1], heads[2])
    assert len({head.sum().item() for head in heads}) == 3
    changed = [name for name, p in first.named_parameters() if not torch.equal(p, plain.get_parameter(name))]
    assert len(changed) == 1  # the biases are 0 either way, and whatever tells no classes apart is kept


def test_a_head_of_another_width_gives_the_numbers_of_no_head(tmp_path: Path) -> None:
    load_classifier(tiny("bert"), 3, 0.1, 7).save_pretrained(tmp_path)
    for outputs in (2, REGRESSION):
        models = [load_classifier(checkpoint, outputs, 0.1, 1) for checkpoint in (tiny("bert"), locate(own(tmp_path)))]
        assert torch.equal(*(weights_of_classes(model, outputs) for model in models))


def test_what_is_saved_names_the_classes_of_the_task(folder: Path) -> None:
    from transformers import pipeline

    other = {"id2label": {"0": "POSITIVE", "1": "NEGATIVE"}, "label2id": {"POSITIVE": 0, "NEGATIVE": 1}}
    rewrite(folder / "config.json", **other)
    checkpoint = locate(own(folder))
    model = load_classifier(checkpoint, 2, 0.1, 0, names=["entailment", "not_entailment"])
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    assert saved["id2label"] == {"0": "entailment", "1": "not_entailment"}
    assert saved["label2id"] == {"entailment": 0, "not_entailment": 1}
    answers = pipeline("text-classification", str(folder), device="cpu", top_k=None)(["a b"])[0]
    assert {row["label"] for row in answers} == {"entailment", "not_entailment"}
    assert load_classifier(checkpoint, 1, 0.1, 0).config.id2label == {0: "score"}
    assert load_classifier(checkpoint, 2, 0.1, 0).config.id2label == {0: "0", 1: "1"}


@pytest.mark.parametrize(
    ("family", "most", "types"),
    [("bert", 256, 2), ("roberta", 256, 1), ("electra", 256, 2), ("xlnet", None, 3), ("deberta_v2", None, 1)],
)
def test_limits_are_read_off_the_architecture(family: str, most: int | None, types: int) -> None:
    model = skeleton(tiny(family), 2)
    assert positions(model) == most
    assert token_types(model) == types


def test_token_types_go_only_to_a_model_that_tells_them_apart(folder: Path) -> None:
    assert "token_type_ids" in load_tokenizer(tiny("bert")).model_input_names
    rewrite(folder / "config.json", type_vocab_size=1)
    assert "token_type_ids" not in load_tokenizer(locate(own(folder))).model_input_names


@pytest.mark.parametrize("files", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]])
def test_a_folder_without_its_tokenizer_is_refused(folder: Path, files: list[str]) -> None:
    for name in files:
        (folder / name).unlink()
    with pytest.raises(UserError, match=f"^{folder} (has no tokenizer|cannot be loaded)"):
        load_tokenizer(locate(own(folder)))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("foo.bar", "must name one installed package"),
        ("os.path", "must name one installed package"),
        ("../../x", "must name one installed package"),
        ("", "must name one installed package"),
        ("os", "package:os is not a model: the package holds no model"),
        ("json", "package:json is not a model"),
        ("__main__", "is not a model|is not installed"),
        ("no_such_package", "the package no_such_package is not installed"),
    ],
)
def test_a_package_that_is_no_model(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        locate(ModelConfig(name="m", checkpoint="c", name_or_path=f"package:{name}"))


@pytest.mark.parametrize("address", [".", "./", "..", "../checkpoint/", "../checkpoint/."])
def test_a_folder_named_by_dots_has_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner" if address == ".." else folder)
    assert locate(ModelConfig("m", "c", name_or_path=address)).name == "checkpoint"


@pytest.mark.parametrize("family", ["brt", "BERT", ""])
def test_a_family_that_is_none(family: str) -> None:
    with pytest.raises(UserError, match=f"there is no model.family '{family}'; the recipes know bert, roberta"):
        family_of(ModelConfig(name="m", checkpoint="tiny:bert", family=family))


@pytest.mark.parametrize("family", ["deberta_v2", "distilbert", "xlm_roberta", None])
def test_families_of_transformers_and_none_at_all(family: str | None) -> None:
    assert family_of(ModelConfig(name="m", checkpoint="tiny:bert", family=family)) == family


@pytest.mark.parametrize("place", ["/dev/null", "/proc"])
def test_a_cache_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("HYPE_BENCH_CACHE", place)
    with pytest.raises(UserError, match=f"^the cache {place}/hype_bench cannot be written to .*set HYPE_BENCH_CACHE"):
        tiny("bert")
