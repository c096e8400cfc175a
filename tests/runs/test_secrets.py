"""Keys and tokens never reach a record, a log or a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hype_bench.runs.folder import RunFolder
from hype_bench.runs.secrets import scrub, scrub_values
from hype_bench.sweeps.grids import write
from hype_bench.sweeps.outcomes import JobResult, write_note, write_traceback

KEY = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisTokenIsMadeUpForATest"
SECRETS = {"WANDB_API_KEY": KEY, "HF_TOKEN": TOKEN, "MY_DB_PASSWORD": "correct horse battery"}
DEMO: tuple[str, ...] = ("model=tiny_bert", "task=demo_rte", "training.max_steps=1", "data.max_train_examples=32")
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


@pytest.mark.parametrize("name", ["MYSQL_PWD", "DB_PASS", "GIT_PAT", "apiToken", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN2"])
def test_names_of_secrets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "vErY-h1dden")
    assert scrub("it is vErY-h1dden") == f"it is <{name}>"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "of no name of a secret"),
        ("COMPASS", "of no name of a secret"),
        ("MONKEY", "of no name of a secret"),
        ("DB_PASS", "short"),
        ("DB_PASS", "12345678"),  # a number: 0.12345678 may be a score
        ("API_KEY", "tiny_bert"),  # a choice
        ("API_KEY", "accuracy"),  # a value in conf
        ("API_KEY", "max_steps"),  # a key in conf
        ("API_KEY", "bert-large-cased"),
        ("API_KEY", __file__),
    ],
)
def test_what_is_no_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert scrub(f"x 0.{value} {value}") == f"x 0.{value} {value}"


@pytest.mark.parametrize("secret", ['pass"word\\1', "päßwört-1", "p@ss/w0rd?", "it's hidden", "two\nlines here"])
@pytest.mark.parametrize("escaped", [str, json.dumps, partial(json.dumps, ensure_ascii=False), repr, quote, write])
def test_an_escaped_secret(monkeypatch: pytest.MonkeyPatch, secret: str, escaped: Callable[[str], str]) -> None:
    monkeypatch.setenv("DB_PASS", secret)
    assert scrub(f"it is {escaped(secret)}.").strip(".").replace("'", "").replace('"', "") == "it is <DB_PASS>"


def test_the_password_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:gr8%40proxy@proxy:3128")
    assert scrub("tunnel: gr8@proxy refused, as was gr8%40proxy") == (
        "tunnel: <HTTPS_PROXY> refused, as was <HTTPS_PROXY>"
    )


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("s3://me:pw@host/x", "s3://me:<password>@host/x"),
        ('"http://me:p@ss@host", "a@b"', '"http://me:<password>@host", "a@b"'),
        ("https://0123456789abcdef01234567@host", "https://<token>@host"),
        ("git+ssh://git@host/x@1.2 http://host:80/x", "git+ssh://git@host/x@1.2 http://host:80/x"),
        (f"token={TOKEN}", "token=<token>"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic <token>"),
        ("'authorization': 'Bearer abc.def-ghi'", "'authorization': 'Bearer <token>'"),
        ("Basic information about sk-bert-base-multilingual-cased", None),
        ("https://host/f?revision=main&access_token=abc&x=1", "https://host/f?revision=main&access_token=<token>&x=1"),
        ("commit 56d504a0123456789abcdef0123456789abcdef0", None),
    ],
)
def test_the_form_of_a_secret(text: str, scrubbed: str | None) -> None:
    assert scrub(text) == (scrubbed or text)
    assert scrub(scrub(text)) == scrub(text)


def test_values_are_scrubbed_and_neither_keys_nor_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", "predictions")
    content = {"predictions": ["predictions", 0.5, None, True, ("a predictions",)], "n": 12345678}
    assert scrub_values(content) == {"predictions": ["<DB_PASS>", 0.5, None, True, ["a <DB_PASS>"]], "n": 12345678}


@pytest.mark.usefixtures("_secrets")
def test_whatever_is_written_is_scrubbed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("result.json", {"reason": f"bad {KEY}", "config": {"data": {"root": f"/x/{TOKEN}/y"}}})
    write_traceback(tmp_path, 1, ValueError(KEY))
    write_note(tmp_path, 0, JobResult("failed", "title", reason=f"HTTPError: {KEY}"))
    for path in tmp_path.iterdir():
        assert not any(secret in path.read_text() for secret in SECRETS.values()), path
    assert json.loads((tmp_path / "result.json").read_text())["config"]["data"]["root"] == "/x/<HF_TOKEN>/y"


def test_no_secret_leaves_a_sweep(warm: Any, tmp_path: Path) -> None:
    """W&B on, one run done, one failing with a message that holds the key; names that hold one."""
    names = (f"experiment.name={TOKEN}", f"model.name={KEY}")
    sweep = ("-m", "tracker=wandb", *names, f"model.name_or_path=null,./{TOKEN}")
    ended = warm(*DEMO, *sweep, env={**SECRETS, "WANDB_MODE": "offline"})
    assert "2 runs: 1 done now, 0 done before, 1 failed" in ended.stdout
    assert "<HF_TOKEN> is not a model" in ended.stdout
    single = warm(*DEMO, "tracker=none", f"model.name_or_path=./{TOKEN}", env=SECRETS)
    planned = warm("plan", *DEMO, f"model.name={KEY}", program="hype_bench.cli", env=SECRETS)
    assert "<WANDB_API_KEY>  demo_rte  vanilla" in planned.stdout, planned.stdout + planned.stderr
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert any("wandb" in path.parts for path in files)
    for text in (ended.stdout, ended.stderr, single.stdout, single.stderr, planned.stdout):
        assert not any(secret in text for secret in SECRETS.values())
    for path in files:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS.values()), path
