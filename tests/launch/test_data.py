"""A run's data: drawn once for all seeds, or with every seed."""

from dataclasses import replace

from hype_bench.launch.data import data_of, fingerprint_of
from hype_bench.testing.composed import configured


def test_every_seed_may_draw_its_own_subset() -> None:
    fixed = configured("task=demo_rte", "data.max_train_examples=8", "data.subset_seed=2")
    tied = replace(fixed, data=replace(fixed.data, subset_seed="tied"))
    first, second = (replace(tied, seed=seed) for seed in (1, 2))
    assert data_of(second).train.texts == data_of(fixed).train.texts != data_of(first).train.texts
    assert fingerprint_of(second) == fingerprint_of(replace(fixed, seed=1)) != fingerprint_of(first)
