from __future__ import annotations

import numpy as np
import pytest

from expkit.api import ConfigError
from expkit_datasets.splits import cut

NONE = np.zeros(10, dtype=np.int64)


def test_parts_share_nothing_and_are_all_there_is() -> None:
    parts = cut("x", NONE, (), {"valid": 0.2, "test": 3}, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"valid": 2, "test": 3, "train": 5}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(10))


def test_a_seed_gives_the_same_parts_on_every_machine_and_day_and_another_seed_others() -> None:
    parts = cut("x", NONE, (), {"valid": 2, "test": 2}, seed=0)
    # NumPy promises that this stream never changes.
    assert np.concatenate([parts[p] for p in ("valid", "test", "train")]).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]
    other = cut("x", NONE, (), {"valid": 2, "test": 2}, seed=1)
    assert other["valid"].tolist() != parts["valid"].tolist()


def test_every_part_has_its_share_of_each_class() -> None:
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    parts = cut("x", classes, ("a", "b", "c"), {"valid": 0.2, "test": 20}, seed=5)
    assert np.bincount(classes[parts["valid"]]).tolist() == [12, 6, 2]
    assert np.bincount(classes[parts["test"]]).tolist() == [12, 6, 2]
    assert np.bincount(classes[parts["train"][:10]]).tolist() == [6, 3, 1]  # any stretch of it, too


def test_a_share_gets_at_least_one_sample_and_no_share_leaves_all_for_training() -> None:
    assert len(cut("x", NONE, (), {"valid": 0.001}, seed=0)["valid"]) == 1
    assert sorted(cut("x", NONE, (), {}, seed=0)["train"].tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("shares", "seed", "message"),
    [
        ({"valid": 0.0}, 0, r"valid is 0; expected a share between 0 and 1, or a whole number .*Set dataset\.valid"),
        ({"test": -0.5}, 0, "test is -0.5"),
        ({"test": 1.5}, 0, "test is 1.5"),
        ({"test": float("nan")}, 0, "test is nan"),
        ({"test": float("inf")}, 0, "test is inf"),
        ({"valid": 0.5, "test": 5}, 0, r"dataset\.valid=0\.5 and dataset\.test=5 leave nothing of 10 samples"),
        ({"valid": 0.5}, -1, "split_seed is -1; expected 0 to 4294967295"),
        ({"valid": 0.5}, 2**32, "split_seed is 4294967296"),
    ],
)
def test_shares_and_seeds_out_of_range_are_refused(shares: dict[str, float], seed: int, message: str) -> None:
    with pytest.raises(ConfigError, match=f"dataset 'x': .*{message}"):
        cut("x", NONE, (), shares, seed)


def test_a_class_that_no_training_sample_shows_is_named() -> None:
    classes = np.array([0] * 9 + [1])
    with pytest.raises(ConfigError, match=r"no sample of 'rare' is left for training, of 1 in all\. Lower dataset\.te"):
        cut("x", classes, ("often", "rare"), {"test": 8}, seed=0)
