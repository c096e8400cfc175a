"""Bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hype_bench.sweeps.display import Display


def test_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    display = Display(Console(file=stream, force_terminal=True, width=120))
    display.start_sweep(2)
    display.start_run("bert rte vanilla seed 1")
    display.update({"update": 10.0, "loss": 0.6931, "learning_rate": 1e-5}, 40)
    display.update({"update": 10.0, "accuracy": 0.5}, 40)  # a point of the dev curve has no loss
    assert display.progress is not None
    display.progress.refresh()
    display.end_run("done: bert rte vanilla seed 1")
    display.stop()
    shown = stream.getvalue()
    for part in ("sweep", "bert rte vanilla seed 1", "loss 0.6931", "updates/s", "10/40", "[1/2] done: bert"):
        assert part in shown
    assert capsys.readouterr().out == ""


def test_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    display = Display(Console(file=stream, force_terminal=False))
    display.start_sweep(2)
    for title in ("first", "second"):
        display.start_run(title)
        display.update({"update": 1.0, "loss": 1.0}, 2)
        display.end_run(f"done: {title}")
    display.stop()
    assert stream.getvalue() == ""
    assert capsys.readouterr().out == "[1/2] done: first\n[2/2] done: second\n"


def test_a_second_sweep_counts_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Console(file=io.StringIO()))
    for _ in range(2):
        display.start_sweep(1)
        display.end_run("done: it")
    assert capsys.readouterr().out == "[1/1] done: it\n" * 2


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    Display(Console(file=io.StringIO())).say("failed: 401 for 0123456789abcdef [bold]")
    assert capsys.readouterr().out == "failed: 401 for <WANDB_API_KEY> [bold]\n"
