"""Checkpoints as people bring them: what loads, what is refused in one line, and that no code of theirs is run."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hype_bench
from hype_bench.config import ModelConfig
from hype_bench.models.checkpoint import Checkpoint, locate
from hype_bench.models.family import family_of
from hype_bench.models.loading import load_classifier, load_tokenizer
from hype_bench.models.skeleton import skeleton
from hype_bench.options import UserError

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
