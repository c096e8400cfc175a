"""Every technique takes the branches for CUDA: one device, the CPU's numbers, and no wait for the GPU within an update.

On a stand-in for a GPU (device.py), in a process of its own, for torch must find the guard when it is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hype_bench.contract.registry import discover
from tests.architectures import REFUSED
from tests.cuda.guard import obstacle
from tests.cuda.waits import WAITS

Run = dict[str, Any]
PROGRAM = Path(__file__).with_name("runs.py")
FAMILIES, PRECISIONS = ("bert", "roberta", "electra"), ("fp32", "bf16", "fp16")
CLOSE = {"fp32": 5e-6, "bf16": 0.1}  # logits after three updates, relative to the largest

# Launches of one update of vanilla on two layers; lower them where fewer are enough.
LAUNCHES = {"fp32": 194, "bf16": 274, "fp16": 302}

# How many more a technique may have that acts on every tensor of a model, which takes a few kernels for all of them.
MORE_LAUNCHES = {"sage": 30, "recadam": 20, "child_tuning_d": 5, "child_tuning_f": 10, "mixout": 60}
FORWARD_PASSES = {"training.gradient_checkpointing=true": 2, "training.gradient_accumulation_steps=3": 3}

SETTINGS = (
    ("bert", "training.gradient_checkpointing=true"),
    ("bert", "training.gradient_accumulation_steps=3"),
    ("bert", "training.optimizer=adamw_hf"),
    ("bert", "training.packing=off"),
    ("xlnet", "seed=2"),
    ("deberta", "seed=2"),
    ("deberta_v2", "seed=2"),
)  # other ways through the loop, and families that do not pack


def case(technique: str, family: str, precision: str, settings: tuple[str, ...] = (), dropout: bool = False) -> Run:
    values = {"technique": technique, "family": family, "precision": precision}
    return values | {"dropout": dropout, "settings": settings}


def is_refused(run: Run) -> bool:
    return run["technique"] in REFUSED.get(run["family"], ())


def fast() -> list[Run]:
    """Every technique in every family and every precision, but not in all pairs of them."""
    pairs = zip(FAMILIES, PRECISIONS, strict=True)
    cases = [case(name, family, precision) for family, precision in pairs for name in discover()]
    cases += [case("hype_n", family, "fp32", (setting,)) for family, setting in SETTINGS]
    cases += [case(name, "bert", "fp32", ("training.packing=off",)) for name in ("noisefit", "wta_crs")]
    cases += [case("vanilla", "bert", precision, dropout=True) for precision in PRECISIONS]
    return [one for one in cases if not is_refused(one)]


def all_others() -> list[Run]:
    every = [case(name, family, precision) for family in FAMILIES for precision in PRECISIONS for name in discover()]
    every += [case(name, family, "fp32", (setting,)) for family, setting in SETTINGS for name in discover()]
    return [one for one in every if one not in fast() and not is_refused(one)]


@pytest.fixture(scope="module", params=[fast, pytest.param(all_others, marks=pytest.mark.slow)])
def runs(request: pytest.FixtureRequest) -> list[Run]:
    if reason := obstacle():
        pytest.skip(reason)
    cases = json.dumps(request.param())
    ended = subprocess.run([sys.executable, str(PROGRAM)], input=cases, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def name_of(run: Run) -> str:
    return " ".join([run["technique"], run["family"], run["precision"], *run["settings"]])


def closeness(run: Run) -> float:
    """DPS takes the larger of squared gradients, and those of the two rows of a head differ by rounding alone; what is
    left of a gradient perpendicular to another one is a small difference of large numbers; VAT follows the direction of
    a small gradient; NMTune has the singular values of a few rows of features."""
    own = {"dps": 1e-3, "perp_grad": 1e-4, "vat": 1e-5, "nmtune": 2e-5} if run["precision"] == "fp32" else {}
    return own.get(run["technique"], CLOSE[run["precision"]])


def test_every_technique_runs_on_one_device(runs: list[Run]) -> None:
    errors = [f"{name_of(run)}: {run['error']}" for run in runs if "error" in run]
    assert not errors, "\n".join(errors)


def test_logits_are_those_of_the_cpu(runs: list[Run]) -> None:
    compared = [run for run in runs if "difference" in run]
    assert compared
    far = [f"{name_of(run)}: {run['difference']}" for run in compared if not run["difference"] <= closeness(run)]
    assert not far, "\n".join(far)


def test_no_update_waits_for_the_device(runs: list[Run]) -> None:
    waits = Counter[str]()
    new: dict[str, str] = {}
    for run in runs:
        for place in run.get("synchronisations", {}):
            where = place.rpartition(":")[0] or place  # without the line
            waits[where] += 1
            if where not in WAITS:
                new.setdefault(place, name_of(run))
    assert not new, "\n".join(f"{name}: {place}" for place, name in new.items())
    gone = [where for where in WAITS if where not in waits]
    assert not gone, "delete from WAITS:\n" + "\n".join(gone)


def test_points_of_the_curve_that_are_read_late_are_all_there(runs: list[Run]) -> None:
    for run in runs:
        if "points" in run and run["precision"] != "fp16":  # which skips updates
            phases = len(run["points"]) // 3
            assert phases
            assert run["points"] == list(range(1, 1 + 3 * phases)), name_of(run)


def test_launches_of_vanilla_stay_within_their_bound(runs: list[Run]) -> None:
    for run in runs:
        if run["dropout"]:
            assert run["launches"] <= LAUNCHES[run["precision"]], run["operations"]


def test_techniques_that_act_on_every_tensor_do_not_launch_a_kernel_for_each(runs: list[Run]) -> None:
    launches = {
        (run["technique"], run["family"], run["precision"], *run["settings"]): run["launches"]
        for run in runs
        if "launches" in run and not run["dropout"]
    }
    for (technique, *others), count in launches.items():
        if technique in MORE_LAUNCHES:
            more, passes = count - launches["vanilla", *others], FORWARD_PASSES.get(others[-1], 1)
            assert more <= MORE_LAUNCHES[technique] * passes, (technique, *others)
