"""Wrong labels on purpose: how many, which, and that each class becomes another one."""

from __future__ import annotations

import numpy as np
import pytest

from hype_bench.options import UserError
from hype_bench.tasks.label_noise import with_noise
from hype_bench.tasks.split import Split
from hype_bench.testing.composed import composed, configured, loaded


def split_of(labels: list[float]) -> Split:
    values = np.asarray(labels)
    return Split("train", ([""] * len(values),), values, np.arange(len(values)))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_share_of_labels_becomes_other_classes(classes: int) -> None:
    split = split_of([i % classes for i in range(3_000)])
    noisy = with_noise(split, 0.4, classes, seed=1).labels
    moved = noisy != split.labels
    assert moved.sum() == 1_200
    steps = np.bincount((noisy - split.labels)[moved] % classes, minlength=classes)
    assert steps[0] == 0
    np.testing.assert_allclose(steps[1:] / 1_200, 1 / (classes - 1), atol=0.05)


def test_asymmetric_noise_makes_a_class_the_next_one() -> None:
    split = split_of([i % 3 for i in range(300)])
    noisy = with_noise(split, 0.4, 3, seed=1, kind="asymmetric").labels
    moved = noisy != split.labels
    assert moved.sum() == 120
    assert (noisy[moved] == (split.labels[moved] + 1) % 3).all()
    assert (moved == (with_noise(split, 0.4, 3, seed=1).labels != split.labels)).all()
    with pytest.raises(UserError, match="asymmetric needs classes"):
        loaded(configured("task=demo_stsb", "data.label_noise=0.25", "data.label_noise_kind=asymmetric"))


def test_a_higher_rate_replaces_more_and_another_seed_others() -> None:
    split = split_of([i % 2 for i in range(200)])
    low, high, other = (with_noise(split, *given) for given in ((0.1, 2, 1), (0.3, 2, 1), (0.1, 2, 2)))
    moved = low.labels != split.labels
    assert (high.labels != split.labels)[moved].all()
    assert (other.labels != low.labels).any()


def test_a_regression_takes_labels_that_there_are() -> None:
    split = split_of([float(i) for i in range(100)])
    noisy = with_noise(split, 0.5, 0, seed=1).labels
    assert set(noisy) <= set(split.labels)
    assert 40 <= (noisy != split.labels).sum() <= 50


def test_only_the_training_labels_of_a_run_are_wrong_and_its_identity_is_another() -> None:
    plain, noisy = (loaded(configured("task=demo_rte", *given)) for given in ([], ["data.label_noise=0.25"]))
    assert (plain.train.labels != noisy.train.labels).sum() == 12
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(plain.evaluation, noisy.evaluation, strict=True))
    assert plain.fingerprint != noisy.fingerprint
    assert "12 of the 48 training labels are wrong on purpose (data.label_noise=0.25)" in noisy.warnings


def test_a_share_is_at_most_all() -> None:
    with pytest.raises(UserError, match="label_noise must be"):
        composed("data.label_noise=1.5")
