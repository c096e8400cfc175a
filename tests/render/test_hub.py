"""A model on its way to the hub, which is a stand-in here: what arrives, and what is complained of before."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hype_bench.options import UserError
from hype_bench.render.hub import push
from hype_bench.render.model_card import write_card
from hype_bench.runs.folder import RunFolder
from hype_bench.runs.record import Record
from tests.tables.swept import write_experiment

RUN = "rte-hype_n-1-3"


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's API that a push needs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server: Any = self.server
        if self.headers.get("Authorization") != "Bearer hf_good":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            server.made.append(json.loads(body))
            return self.answer(200, {"url": f"{server.address}/me/model"})
        if self.path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return self.answer(200, {"files": [{**file, "shouldIgnore": False} for file in files]})
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.answer(200, {"commitUrl": f"{server.address}/me/model/commit/0", "commitOid": "0" * 40})
        return self.answer(200, {"errors": [], "warnings": []})

    def do_GET(self) -> None:
        self.answer(404, {})

    def answer(self, code: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address, server.made, server.files = f"http://127.0.0.1:{server.server_port}", [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Three seeds of two rows, one run of which has kept its weights."""
    write_experiment(tmp_path, {"vanilla": 0.6, "hype_n": 0.9}, seeds=(1, 2, 3), tasks=["rte"])
    model = tmp_path / "runs" / RUN / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_model_and_card_arrive(hub: Any, trained: Path) -> None:
    assert push(trained, RUN, "me/model", public=False) == f"{hub.address}/me/model"
    (made,) = hub.made
    assert (made["name"], made["visibility"]) == ("model", "private")
    assert hub.files.keys() == {"README.md", "config.json", "model.safetensors"}
    assert hub.files["model.safetensors"] == b"weights"
    card = " ".join(hub.files["README.md"].decode().split())
    for part in ("library_name: transformers", "# minilm on rte with hype_n", "seed 1", "(3)", "helps", "| vanilla |"):
        assert part in card, part


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("no weights", "has no weights; with training.save=last"),
        ("other weights", "does not hold the weights that it saved"),
        ("no token", "wants a token: hf auth login"),
        ("bad token", "refuses me/model: "),
        ("bad name", "is no name of a repository, such as user/name"),
        ("no network", "does not answer ("),
        ("offline", "does not answer ("),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    change: str, complaint: str, hub: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if change == "no weights":
        (trained / "runs" / RUN / "model" / "model.safetensors").unlink()
    elif change == "other weights":
        folder = RunFolder(trained / "runs" / RUN)
        record = folder.result()
        assert record is not None
        folder.write_record(replace(record, facts={"weights": "0"}))
    elif "token" in change:
        monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_bad" if "bad" in change else None)
        monkeypatch.setenv("HF_TOKEN", "hf_bad")
    elif change == "no network":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    elif change == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=re.escape(complaint)) as error:
        push(trained, RUN, "a b/c/d" if change == "bad name" else "me/model", public=False)
    assert "\n" not in str(error.value)
    assert hub.files == {}


def test_the_card_of_a_run_alone_says_that_it_is_one(trained: Path) -> None:
    folder = RunFolder(trained / "runs" / RUN)
    record = folder.result()
    assert isinstance(record, Record)
    model = {"name": "mine", "checkpoint": "google-bert/bert-base-uncased"}
    record = replace(record, config={**record.config, "model": model, "methods": {"hype_n": {"scale": 1e-5}}})
    write_card(folder.path, record)
    card = (folder.path / "model" / "README.md").read_text()
    assert "base_model: google-bert/bert-base-uncased" in card
    assert "hype_n (scale=1e-5)" in card
    assert "another seed gives another score" in card
    assert "vanilla" not in card
