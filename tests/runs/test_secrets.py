"""Keys and tokens never reach a record, a log or a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.secrets import scrub
from hype_bench.sweeps.outcomes import Ended, note

KEY = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisTokenIsMadeUpForATest"
SECRETS = {"WANDB_API_KEY": KEY, "HF_TOKEN": TOKEN, "MY_DB_PASSWORD": "correct horse battery"}
DEMO = ("model=tiny_bert", "task=demo_rte", "training.max_steps=1", "data.max_train_examples=32")
DEMO = (*DEMO, "data.max_eval_examples=16")


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_secrets")
def test_scrub() -> None:
    text = f"401 for url https://user:{KEY}@host ({TOKEN})"
    assert scrub(text) == "401 for url https://user:<WANDB_API_KEY>@host (<HF_TOKEN>)"
    assert scrub("correct horse battery staple") == "<MY_DB_PASSWORD> staple"
    assert scrub("nothing to hide") == "nothing to hide"


def test_short_values_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert scrub("generated: false") == "generated: false"


@pytest.mark.usefixtures("_secrets")
def test_whatever_is_written_is_scrubbed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("result.json", {"reason": f"bad {KEY}", "config": {"data": {"root": f"/x/{TOKEN}/y"}}})
    folder.write("failure.txt", f"Traceback\nHTTPError: {KEY}")
    note(tmp_path, 0, Ended("failed", "title", reason=f"HTTPError: {KEY}"))
    for path in tmp_path.iterdir():
        assert not any(secret in path.read_text() for secret in SECRETS.values()), path
    assert json.loads((tmp_path / "result.json").read_text())["config"]["data"]["root"] == "/x/<HF_TOKEN>/y"


def test_no_secret_leaves_a_sweep(warm: Any, tmp_path: Path) -> None:
    """W&B on, one run done, one failing with a message that holds the key."""
    sweep = ("-m", "tracker=wandb", f"model.name_or_path=null,./{TOKEN}")
    ended = warm(*DEMO, *sweep, env={**SECRETS, "WANDB_MODE": "offline"})
    assert "2 runs: 1 done now, 0 done before, 1 failed" in ended.stdout
    assert "<HF_TOKEN> is no model" in ended.stdout
    single = warm(*DEMO, "tracker=none", f"model.name_or_path=./{TOKEN}", env=SECRETS)
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file() and path.name != "multirun.yaml"]
    assert any("wandb" in path.parts for path in files)
    for text in (ended.stdout, ended.stderr, single.stdout, single.stderr):
        assert not any(secret in text for secret in SECRETS.values())
    for path in files:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS.values()), path
