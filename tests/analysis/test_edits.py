"""Edits of weights against the numbers of published code."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hype_bench.analysis.editing.mask import initial_scores, moved_most, overlap, put_in, soft, trained_masks
from hype_bench.analysis.editing.members import Members, trained
from hype_bench.analysis.graft import graft
from hype_bench.analysis.lines import lines, scale_changes, scales_of
from hype_bench.analysis.model_stock import model_stock, share_of_mean, stock
from hype_bench.analysis.scale_intruders import scale_intruders
from hype_bench.analysis.wise_ft import interpolate, wise_ft
from hype_bench.options import UserError


def state(values: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def assert_close(computed: dict[str, Tensor], expected: dict[str, Any]) -> None:
    assert computed.keys() == expected.keys()
    for name, value in computed.items():
        torch.testing.assert_close(value, torch.tensor(expected[name], dtype=torch.float64), rtol=0, atol=1e-10)


def test_wise_ft(parity: Any) -> None:
    numbers = parity("wise_ft")
    start, end = state(numbers["pretrained"]), state(numbers["finetuned"])
    assert_close(interpolate(start, end, numbers["alpha"]), numbers["plain"])
    kept = interpolate(start, {**end, "ids": torch.tensor([3])}, 0.0, keep=["b"])
    assert torch.equal(kept["b"], end["b"])
    assert kept["ids"].tolist() == [3]
    assert torch.equal(interpolate(start, end, 1.0)["w"], end["w"])


def test_model_stock(parity: Any) -> None:
    numbers = parity("model_stock")
    start, ends = state(numbers["pretrained"]), [state(values) for values in numbers["finetuned"]]
    weights, shares = stock(start, ends)
    assert_close(weights, numbers["per_tensor"])
    assert shares == pytest.approx({name: ratio["t"] for name, ratio in numbers["ratio"].items()}, abs=1e-10)
    averaged, _ = stock(start, ends, averaged=["b"])
    torch.testing.assert_close(averaged["b"], (ends[0]["b"] + ends[1]["b"]) / 2)


def test_the_share_of_the_mean_stays_between_start_and_mean() -> None:
    start, east = torch.zeros(2), torch.tensor([1.0, 0.0])
    assert share_of_mean(start, [east, -0.9 * east]) == 0  # the formula gives -inf at a cosine of -1
    assert share_of_mean(start, [east, start]) == 0
    assert share_of_mean(start, [east, 2 * east]) == 1


def test_lines(parity: Any) -> None:
    numbers = parity("lines")
    start, end = state(numbers["pretrained"]), state(numbers["finetuned"])
    depths = {name: 1 + int(name.split(".")[2]) if "layer" in name else 0 for name in start}
    for case in numbers["single_task"]:
        scales = scales_of(depths, numbers["blocks"], case["alpha"], case["beta"])
        assert scales == pytest.approx(case["scale"], abs=1e-12)
        assert_close(scale_changes(start, end, scales), case["edited"])
    merging = numbers["merging"]
    nothing = {name: torch.zeros_like(value) for name, value in start.items()}
    scales = scales_of(depths, numbers["blocks"], merging["alpha"], merging["beta"])
    assert_close(scale_changes(nothing, state(merging["merged"]), scales), merging["scaled"])
    assert scales_of({"above": 13}, 12, 0.3) == {"above": 1.0}
    assert scales_of({"embeddings": 0, "only layer": 1}, 1, 0.3) == {"embeddings": 0.3, "only layer": 1.0}
    assert torch.equal(
        scale_changes(start, end, scales_of(depths, 12, 1.0))["pooler.dense.weight"], end["pooler.dense.weight"]
    )


@pytest.mark.parametrize("name", ["grafting", "grafting_b"])
def test_graft(name: str, parity: Any) -> None:
    numbers = parity(name)
    start, end = state(numbers["pretrained"]), state(numbers["finetuned"])
    masks = moved_most(start, end, numbers.get("level", numbers.get("sparsity_level")))
    patch = numbers.get("basepatch", dict(zip(start, numbers.get("patch", ()), strict=False)))
    assert_close({name: mask.double() for name, mask in masks.items()}, patch)
    if "weights_base_patch" in numbers:
        assert_close(put_in(start, end, masks), numbers["weights_base_patch"])


def classified(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The model of ``grafting.json`` or that of ``grafting_b.json``."""
    if "scale" in weights:
        return (x * weights["scale"]) @ weights["matrix"].T
    hidden = (x @ weights["fc1.weight"].T + weights["fc1.bias"]).tanh()
    return hidden @ weights["fc2.weight"].T + weights["fc2.bias"]


def gradients_on(batches: list[tuple[Any, Any]]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Of the mean loss over batches."""

    def gradients(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        for x, labels in batches:
            logits = classified(leaves, torch.tensor(x, dtype=torch.float64))
            (torch.nn.functional.cross_entropy(logits, torch.tensor(labels)) / len(batches)).backward()
        return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}

    return gradients


def test_the_mask_of_a_graft_is_trained_as_published(parity: Any) -> None:
    numbers = parity("grafting")
    start, end, scores = (state(numbers[name]) for name in ("pretrained", "finetuned", "initial_scores"))
    base, bias = moved_most(start, end, numbers["sparsity_level"]), numbers["sigmoid_bias"]
    batches = [(batch["x"], batch["labels"]) for batch in numbers["batches"][: numbers["batches_an_epoch"]]]
    expected, rate = numbers["epochs"], numbers["learning_rate"]
    masks = trained_masks(start, end, base, scores, gradients_on(batches), len(expected), rate, bias)
    for mask, epoch in zip(masks, expected, strict=True):
        assert_close(scores, epoch["scores"])
        assert_close(soft(base, scores, bias), epoch["soft_mask"])
        assert_close({name: entries.double() for name, entries in mask.items()}, epoch["rounded_mask"])
        assert_close(put_in(start, end, mask), epoch["grafted"])
    assert any((mask[name] != base[name]).any() for name in base)  # the case is one in which training matters


def test_a_step_of_the_mask_in_a_second_set_of_numbers(parity: Any) -> None:
    numbers = parity("grafting_b")
    start, end = state(numbers["pretrained"]), state(numbers["finetuned"])
    base, scores = moved_most(start, end, numbers["level"]), state(dict(zip(start, numbers["S"], strict=True)))
    gates = soft(base, scores, numbers["bias"])
    assert sum(int(mask.sum()) for mask in base.values()) == numbers["patch_count"]
    assert_close(
        {name: start[name] + gates[name] * (end[name] - start[name]) for name in start}, numbers["weights_soft"]
    )
    rounded = {name: gate > 0.5 for name, gate in gates.items()}
    assert_close(put_in(start, end, rounded), numbers["weights_rounded"])
    gradients = gradients_on([(numbers["inputs"], numbers["labels"])])
    list(trained_masks(start, end, base, scores, gradients, 1, numbers["learning_rate"], numbers["bias"]))
    assert_close(scores, dict(zip(start, numbers["S_after_one_step"], strict=True)))


def test_a_mask_starts_at_the_base_mask_and_overlaps_are_of_the_first() -> None:
    base = {"w": torch.tensor([True, True, False, False])}
    scores = initial_scores(base, {"w": torch.zeros(4)}, seed=1)
    assert (soft(base, scores)["w"] - base["w"].float()).abs().max() < 1.3e-4
    assert overlap(base, {"w": torch.tensor([True, False, True, True])}) == 0.5
    assert overlap(base, base) == 1.0
    assert math.isnan(overlap({"w": torch.zeros(4, dtype=torch.bool)}, base))


def test_the_mask_of_a_run_is_chosen_on_examples_set_aside(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graft(share="0.01", epochs=2, rate=1e9, results_dir=place / "results")
    assert "(share=0.01, epochs=2, rate=1000000000.0)" in capsys.readouterr().out
    for record in records(place, "vanilla+graft"):
        facts = record["facts"]
        assert len(facts["heldout"]) == 3
        assert facts["heldout"][facts["epoch"]] == max(facts["heldout"]) == record["scores"]["selection/accuracy"]
        assert (facts["epoch"] == 0) == (facts["added"] == facts["dropped"] == 0)
    with pytest.raises(UserError, match="there is no overlap of masks between tasks"):
        graft(overlap=True, results_dir=place / "results")


def test_masks_of_two_tasks_overlap(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members = []
    for run, task in zip(trained(place / "results"), ("rte", "mrpc"), strict=False):  # two seeds become two tasks
        assert run.record is not None
        label = replace(run.record.label, task=task, seed=7)
        members.append(Members([replace(run, record=replace(run.record, label=label))]))
    monkeypatch.setattr("hype_bench.analysis.graft.single_runs", lambda results_dir, device: iter(members))
    graft(share="0.5,1", overlap=True, results_dir=place / "results")
    half, whole = (line.split() for line in capsys.readouterr().out.splitlines())
    assert " ".join([*half[:7], *half[8:]]) == "tiny_bert vanilla, share 0.5: mrpc and rte (1 run)"
    assert 0.5 < float(half[7]) < float(whole[7]) <= 1  # more than by chance: the data were the same


def test_a_share_without_an_entry_grafts_nothing() -> None:
    start, end = {"w": torch.zeros(3), "head": torch.zeros(1)}, {"w": torch.ones(3), "head": torch.ones(1)}
    grafted = put_in(start, end, moved_most(start, end, 0.01, keep=["head"]))
    assert torch.equal(grafted["w"], start["w"])
    assert torch.equal(grafted["head"], end["head"])


def records(place: Path, name: str) -> list[dict[str, Any]]:
    paths = sorted(place.glob("results/runs/*/result.json"))
    read = [{**json.loads(path.read_text()), "folder": path.parent} for path in paths]
    return [record for record in read if record["label"]["method"] == name]


@pytest.mark.parametrize(
    ("edit", "option", "unchanged"),
    [(wise_ft, "alpha", "1"), (lines, "alpha", "1"), (graft, "share", "1"), (scale_intruders, "factor", "1")],
)
def test_an_edit_of_each_run_is_a_record_beside_it(
    edit: Callable[..., None], option: str, unchanged: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(results_dir=place / "results", save=True, **{option: f"0.01,{unchanged}"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    name = f"vanilla+{edit.__name__}"
    assert f"done: tiny_bert demo_rte {name} seed 1 ({option}=0.01" in lines[0] + lines[2] + lines[4]
    runs = {record["label"]["seed"]: record for record in records(place, "vanilla")}
    edited = records(place, name)
    assert [record["parts"]["methods"][-1][0] for record in edited] == [edit.__name__] * 6
    for record in edited:
        run, setting = runs[record["label"]["seed"]], record["parts"]["methods"][-1][1][option]
        assert "selection/accuracy" in record["scores"]
        assert all(0 <= error <= 1 for error in record["facts"]["ece"].values())
        assert record["facts"]["ece"].keys() == record["scored_rows"].keys()
        if setting == 1:
            assert record["scores"] == run["scores"]
    edit(results_dir=place / "results", save=True, **{option: "0.01"})
    assert capsys.readouterr().out.count("done before: ") == 3


def test_intruders_are_taken_out_of_the_maps_of_the_layers_alone(place: Path) -> None:
    scale_intruders(factor="0", k=2, threshold=1.0, results_dir=place / "results", save=True)  # whatever moved intrudes
    run, *_ = records(place, "vanilla")
    edited = next(r for r in records(place, "vanilla+scale_intruders") if r["label"]["seed"] == run["label"]["seed"])
    end, scaled = (load_file(r["folder"] / "model" / "model.safetensors") for r in (run, edited))
    for name, value in end.items():
        is_map = "encoder.layer" in name and value.dim() == 2
        assert torch.equal(scaled[name], value) != is_map, name
    rank = torch.linalg.matrix_rank(scaled["bert.encoder.layer.0.attention.self.query.weight"], rtol=1e-5)
    assert rank == end["bert.encoder.layer.0.attention.self.query.weight"].shape[0] - 2
    assert edited["facts"]["intruders"] == 2 * sum("encoder.layer" in name and v.dim() == 2 for name, v in end.items())


def test_head_and_pooler_are_those_of_the_run_and_the_rest_goes_back(place: Path) -> None:
    wise_ft(alpha="0", results_dir=place / "results", save=True)
    run = records(place, "vanilla")[0]
    edited = next(r for r in records(place, "vanilla+wise_ft") if r["label"]["seed"] == run["label"]["seed"])
    end, taken_back = (load_file(r["folder"] / "model" / "model.safetensors") for r in (run, edited))
    for name, value in end.items():
        assert torch.equal(taken_back[name], value) == ("pooler" in name or "classifier" in name), name


def test_model_stock_of_the_runs_that_a_soup_takes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_stock(results_dir=place / "results")
    assert "done: tiny_bert demo_rte vanilla+model_stock of 3 runs: accuracy " in capsys.readouterr().out
    (record,) = records(place, "vanilla+model_stock")
    assert 0 <= record["facts"]["mean_share"] <= 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("1.5", "--alpha must be at least 0 and at most 1, not 1.5"),
        ("nan", "--alpha must be at least 0 and at most 1, not nan"),
        ("0,half", "--alpha takes numbers with commas between them, as in 0,0.5,1, not '0,half'"),
    ],
)
def test_a_weight_outside_of_the_line_is_refused(given: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{complaint}$"):
        wise_ft(alpha=given, results_dir=tmp_path)


def test_runs_that_cannot_be_taken_back(place: Path, tmp_path: Path) -> None:
    results = place / "results"
    for path in results.glob("runs/*/model/config.json"):
        path.write_text(path.read_text().replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    with pytest.raises(UserError, match=r"are of another architecture than the model in .*layer\.3"):
        wise_ft(alpha="0.5", results_dir=results)
    for path in results.glob("runs/*/model/model.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=r"holds no run with weights; make one with training\.save=last"):
        wise_ft(alpha="0.5", results_dir=results)


@pytest.mark.parametrize(
    ("part", "value", "complaint"),
    [
        (
            "methods",
            [["reinit", {"layers": 1}]],
            "reinit drew its top layers anew",
        ),
        ("model", "content:0", "is not the checkpoint from which it was trained"),
    ],
)
def test_a_run_without_its_start_is_refused(part: str, value: Any, complaint: str, place: Path) -> None:
    run = trained(place / "results")[0]
    assert run.record is not None
    record = replace(run.record, parts={**run.record.parts, part: value})
    with pytest.raises(UserError, match=complaint):
        _ = Members([replace(run, record=record)]).start


def test_an_edit_can_be_scored_on_adversarial_examples_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = place / "results"
    with pytest.raises(UserError, match=r"^AdvGLUE has no set for task demo_rte; it has sst2, "):
        wise_ft(alpha="0.5", results_dir=results, adversarial=True)
    wise_ft(alpha="0.5", results_dir=results)
    monkeypatch.setattr("hype_bench.analysis.robustness.SETS", {"demo_rte": ("adv_demo",)})
    monkeypatch.setattr("hype_bench.analysis.robustness.adversarial_task", lambda task, name: task)
    for expected in ("done: ", "done before: "):  # what was recorded without them is scored again
        capsys.readouterr()
        wise_ft(alpha="0.5", results_dir=results, adversarial=True)
        assert capsys.readouterr().out.count(expected) == 3
    for record in records(place, "vanilla+wise_ft"):
        assert record["scores"]["adv_demo/accuracy"] == record["scores"]["accuracy"]  # here they are the same examples
